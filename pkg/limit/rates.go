package limit

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// saved is how long a rate is saved up: what it brings in that time, and leastSaved at
	// least, may be used at once.
	saved      = 2 * time.Second
	leastSaved = 20
	// maxOwed is the most that a key can owe, in time of its rate.
	maxOwed = time.Minute
	// known is how long what other processes used of a key matters.
	known = time.Minute
)

// Rates holds keys to so much a second. Processes that tell one another what they let through
// (redislimit.Exchange) hold a key to its rate together, a moment late; each by itself has a
// share of the rate. Safe for concurrent use.
type Rates struct {
	now func() time.Time

	mu      sync.Mutex
	buckets *lru.Cache[Key, *bucket] // the keys used least recently are forgotten
	untold  map[Key]*bucket          // asked for since the last exchange; nil where none is told
	share   float64                  // of each rate that is this process's
	least   float64                  // of a rate that this process lets through between exchanges
}

// bucket is what is left of a key's rate. Its unit is the caller's: requests, bytes.
type bucket struct {
	rate float64   // a second
	left float64   // below zero: owed
	at   time.Time // when that was left

	used  int64     // since the last exchange
	told  time.Time // the last exchange; zero before the first
	after float64   // what was left after it, but for what had been used meanwhile
	part  float64   // of what comes until the next one that this process lets through; 0 is all
	total int64     // that all processes had used by then
}

// NewRates makes the Rates of a process alone.
func NewRates() *Rates {
	buckets, err := lru.New[Key, *bucket](localKeys)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Rates{now: time.Now, buckets: buckets, share: 1, least: 1}
}

// Take uses n of the key's rate and returns 0. Where less is left it uses nothing, and
// returns after what time n will be.
func (r *Rates) Take(k Key, perSecond, n int64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(k, perSecond)
	wait := b.until(float64(n))
	if wait > 0 {
		n = 0 // but others are asked what they use
	}
	r.use(k, b, n)
	return wait
}

// Wait is the time after which n of the key's rate are left. It uses nothing.
func (r *Rates) Wait(k Key, perSecond, n int64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bucket(k, perSecond).until(float64(n))
}

// Spend uses n of the key's rate whatever is left, and returns after what time nothing will
// be owed. A minute of the rate is owed at most.
func (r *Rates) Spend(k Key, perSecond, n int64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(k, perSecond)
	r.use(k, b, n)
	b.left = max(b.left, -b.rate*maxOwed.Seconds())
	return b.until(0)
}

// bucket is the key's, with what has come by now.
func (r *Rates) bucket(k Key, perSecond int64) *bucket {
	now, rate := r.now(), float64(perSecond)*r.share
	b, ok := r.buckets.Get(k)
	if !ok {
		b = &bucket{left: full(rate), at: now}
		r.buckets.Add(k, b)
	}
	b.rate = rate
	part := b.part
	if part == 0 || r.share < 1 {
		part = 1
	}
	b.left = min(b.left+part*rate*now.Sub(b.at).Seconds(), full(rate))
	b.at = now
	return b
}

// full is the most that is left of a rate.
func full(rate float64) float64 { return max(rate*saved.Seconds(), leastSaved) }

// until is the time after which n are left.
func (b *bucket) until(n float64) time.Duration {
	if b.left >= n {
		return 0
	}
	return time.Duration((n - b.left) / b.rate * float64(time.Second))
}

func (r *Rates) use(k Key, b *bucket, n int64) {
	b.left -= float64(n)
	if r.untold != nil {
		b.used += n
		r.untold[k] = b
	}
}

// SetShare says which share of each rate is this process's: 1 while the processes tell one
// another what they use.
func (r *Rates) SetShare(share float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.share = share
}

// SetMembers says how many processes tell one another what they use; 1 at first.
func (r *Rates) SetMembers(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.least = 1 / float64(max(n, 1))
}

// Use is what a process has used of a key.
type Use struct {
	Key Key
	N   int64
}

// Untold returns what was used since it was last asked for, also of keys that were only
// refused, and of some keys if there are more than most. The first call begins to count.
func (r *Rates) Untold(most int) []Use {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.untold == nil {
		r.untold = map[Key]*bucket{}
	}
	var uses []Use
	for k, b := range r.untold {
		if len(uses) == most {
			break
		}
		uses = append(uses, Use{k, b.used})
		b.used = 0
		delete(r.untold, k)
	}
	return uses
}

// Told takes in what all processes together have used of the key, since any time, with the
// use that this one told. What others used makes the key owe at most what it could use at
// once, whatever they say.
func (r *Rates) Told(u Use, total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.buckets.Peek(u.Key)
	if !ok {
		return
	}
	now, most := r.now(), full(b.rate)
	since, others := now.Sub(b.told), total-b.total-u.N
	b.left = min(b.left+b.rate*now.Sub(b.at).Seconds(), most)
	b.at = now
	if b.told.IsZero() || since > known || others < 0 { // what they used is not known
		b.after = b.left + float64(b.used)
	} else {
		b.after = min(b.after+b.rate*since.Seconds(), most) - float64(u.N)
		b.after -= min(float64(others), max(b.after+most, 0))
		b.left = b.after - float64(b.used)
		b.part = r.part(b.part, u.N, others)
	}
	b.told, b.total = now, total
}

// part is of what comes until the next exchange what this process lets through, when it used
// own and the others theirs since the last one. If each let all of it through, a key that is
// asked for more would have several times its rate at first, and nothing for a while then.
func (r *Rates) part(before float64, own, others int64) float64 {
	all := float64(own) + float64(others)
	if all == 0 {
		return before
	}
	return max(float64(own)/all, r.least)
}
