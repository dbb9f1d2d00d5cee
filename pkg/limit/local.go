package limit

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// localKeys bounds the memory of a Local: the keys that failed least recently
// are forgotten.
const localKeys = 65536

// Local is a Failures in the memory of this process.
type Local struct {
	every time.Duration // one attempt comes back
	burst int
	now   func() time.Time
	keys  *lru.Cache[Key, *rate.Limiter]
	adds  sync.Mutex
}

var _ Failures = (*Local)(nil)

// NewLocal allows n failures at once, and n in every period after that. n is
// at least 1.
func NewLocal(n int, period time.Duration) *Local {
	keys, err := lru.New[Key, *rate.Limiter](localKeys)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Local{every: period / time.Duration(n), burst: n, now: time.Now, keys: keys}
}

// Check implements Failures.
func (l *Local) Check(_ context.Context, k Key) error {
	bucket, ok := l.keys.Get(k)
	if !ok {
		return nil
	}
	left := bucket.TokensAt(l.now())
	if left >= 1 {
		return nil
	}
	wait := time.Duration((1 - left) * float64(l.every))
	return Refused(wait)
}

// MaxOwed is how many full allowances can be owed: what fails beyond that, side by side,
// is forgotten.
const MaxOwed = 10

// Add implements Failures. Attempts that ran side by side were all let in by
// Check; what of them goes beyond the allowance is owed, and waited for.
func (l *Local) Add(_ context.Context, k Key) error {
	bucket := rate.NewLimiter(rate.Every(l.every), l.burst)
	if known, ok, _ := l.keys.PeekOrAdd(k, bucket); ok {
		bucket = known
	}
	l.adds.Lock()
	defer l.adds.Unlock()
	now := l.now()
	if owed := float64(l.burst) - bucket.TokensAt(now); owed+1 <= MaxOwed*float64(l.burst) {
		bucket.ReserveN(now, 1)
	}
	return nil
}
