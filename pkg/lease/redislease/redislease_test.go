package redislease_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot/redisconn"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/lease/leasetest"
	"github.com/berth-registry/berth/pkg/lease/redislease"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// patient is for tests that want an answer, on a machine that does much else.
const patient = 5 * time.Second

// node is the leases of a process; 0 as timeout is the product's own.
func node(t *testing.T, url string, timeout, ttl time.Duration) lease.Leases {
	t.Helper()
	c, err := redisconn.Open(t.Context(), redisconn.Options{URL: url, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return redislease.New(redislease.Options{Redis: c, Secret: "of all nodes", TTL: ttl})
}

var work = lease.Key{Kind: "fetch", Tenant: 7, Name: "sha256:abc"}

func TestLeases(t *testing.T) {
	server := testserver.StartRedis(t)
	leasetest.Run(t, func(t *testing.T) (lease.Leases, lease.Leases) {
		server.Flush()
		return node(t, server.URL(), patient, 0), node(t, server.URL(), patient, 0)
	})
}

// Without Redis it is the leases of a process.
func TestR14_WithoutRedis(t *testing.T) {
	server := testserver.StartRedis(t)
	server.Kill()
	leasetest.Run(t, func(t *testing.T) (lease.Leases, lease.Leases) {
		l := node(t, server.URL(), 0, 0)
		return l, l
	})
	a, b := node(t, server.URL(), 0, 0), node(t, server.URL(), 0, 0)
	defer leasetest.Acquire(t, a, work, "").Release()
	defer leasetest.Acquire(t, b, work, "").Release()
}

func isLost(l lease.Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// acquired waits for the lease.
func acquired(t *testing.T, l lease.Leases) lease.Lease {
	t.Helper()
	var held lease.Lease
	await.True(t, 30*time.Second, "the lease", func() bool {
		var ok bool
		held, _, ok = l.Acquire(t.Context(), work, "")
		return ok
	})
	return held
}

// A node that is cut off loses its leases to the others, and is told.
func TestR17_CutOffFromRedis(t *testing.T) {
	server := testserver.StartRedis(t)
	for _, mode := range []testserver.RedisMode{testserver.RedisRefused, testserver.RedisDropRequests} {
		t.Run(string(mode), func(t *testing.T) {
			proxy := testserver.StartLyingRedis(t, server.Addr())
			a, b := node(t, proxy.URL(), 500*time.Millisecond, 900*time.Millisecond), node(t, server.URL(), patient, time.Minute)
			first := leasetest.Acquire(t, a, work, "at a")
			leasetest.Taken(t, b, work, "at a")
			proxy.SetMode(t, mode)
			second := acquired(t, b)
			<-first.Lost()
			first.Release() // takes nothing from b
			proxy.SetMode(t, testserver.RedisHonest)
			await.True(t, 30*time.Second, "a to be turned away", func() bool {
				held, _, ok := a.Acquire(t.Context(), work, "")
				if ok {
					held.Release()
				}
				return !ok
			})
			second.Release()
		})
	}
}

// With replies dropped, Redis still does what it is told: the lease stays.
func TestR17_RepliesAreDropped(t *testing.T) {
	server := testserver.StartRedis(t)
	proxy := testserver.StartLyingRedis(t, server.Addr())
	a, b := node(t, proxy.URL(), 0, time.Minute), node(t, server.URL(), patient, time.Minute)
	proxy.SetMode(t, testserver.RedisDropReplies)
	held := leasetest.Acquire(t, a, work, "at a")
	await.True(t, 30*time.Second, "the command", func() bool { return server.Do("DBSIZE") == int64(1) })
	leasetest.Taken(t, b, work, "at a")
	held.Release()
}

// What Redis forgets comes back at the next renewal; what it gave to another
// meanwhile is lost.
func TestR15_RedisForgets(t *testing.T) {
	server := testserver.StartRedis(t)
	a, b := node(t, server.URL(), patient, 900*time.Millisecond), node(t, server.URL(), patient, 900*time.Millisecond)
	held := leasetest.Acquire(t, a, work, "at a")
	for _, forget := range []func(){server.Flush, server.Restart} {
		forget()
		await.True(t, 30*time.Second, "the renewal", func() bool { return server.Do("DBSIZE") == int64(1) })
		leasetest.Taken(t, b, work, "at a")
		if isLost(held) {
			t.Error("it is lost, and no one else has it")
		}
	}
	server.Flush()
	other, _, ok := b.Acquire(t.Context(), work, "")
	if !ok { // a was faster
		server.Flush()
		other = acquired(t, b)
	}
	<-held.Lost()
	held.Release()
	leasetest.Taken(t, a, work, "")
	other.Release()
}

// The lease outlives its ttl while it is held, and not the process that held it.
func TestR16_ExpiryOnlyAfterDeath(t *testing.T) {
	server := testserver.StartRedis(t)
	const ttl = 600 * time.Millisecond
	dying, err := redisconn.Open(t.Context(), redisconn.Options{URL: server.URL(), Timeout: patient})
	if err != nil {
		t.Fatal(err)
	}
	a, b := redislease.New(redislease.Options{Redis: dying, TTL: ttl}), node(t, server.URL(), patient, ttl)
	held := leasetest.Acquire(t, a, work, "")
	for until := time.Now().Add(3 * ttl); time.Now().Before(until); {
		if other, _, ok := b.Acquire(t.Context(), work, ""); ok {
			other.Release()
			if !isLost(held) { // a busy machine may renew too late, and then knows
				t.Fatal("it was granted twice, and the holder was not told")
			}
			return
		}
	}
	_ = dying.Close() // its renewals fail
	acquired(t, b).Release()
	held.Release()
}

// A note that is not ours, or not of this work, is not believed.
func TestF4_ForgedNotes(t *testing.T) {
	server := testserver.StartRedis(t)
	a, b := node(t, server.URL(), patient, time.Minute), node(t, server.URL(), patient, time.Minute)
	defer leasetest.Acquire(t, a, work, "http://10.0.0.7:5091").Release()
	key := server.Do("KEYS", "*").([]any)[0].(string)
	genuine := server.Do("GET", key).(string)
	leasetest.Taken(t, b, work, "http://10.0.0.7:5091")
	for _, forged := range []string{
		"", "x", "http://10.6.6.6/", genuine + "0", genuine[:len(genuine)-1], "x" + genuine[1:], strings.Replace(genuine, "10.0.0.7", "10.6.6.6", 1),
		strings.Repeat("x", 60_000),
	} {
		server.Do("SET", key, forged)
		leasetest.Taken(t, b, work, "")
	}
	server.Do("DEL", key)
	server.Do("LPUSH", key, "a list")
	leasetest.Taken(t, b, work, "")
	server.Do("DEL", key)
	other := work
	other.Tenant++
	held := leasetest.Acquire(t, b, other, "http://10.6.6.6/")
	defer held.Release()
	server.Do("COPY", server.Do("KEYS", "*").([]any)[0].(string), key)
	leasetest.Taken(t, a, lease.Key{Kind: "fetch", Tenant: 8, Name: "sha256:abc"}, "http://10.6.6.6/")
	c := node(t, server.URL(), patient, time.Minute)
	leasetest.Taken(t, c, work, "")
}

// Whatever Redis does, work is done, only more often; no call takes long; and a
// note is one that was left for this work.
func TestR16_LyingRedis(t *testing.T) {
	server := testserver.StartRedis(t)
	for _, mode := range slices.Concat(testserver.RedisModes, []testserver.RedisMode{testserver.RedisHonest}) {
		t.Run(string(mode), func(t *testing.T) {
			server.Flush()
			proxy := testserver.StartLyingRedis(t, server.Addr())
			nodes := []lease.Leases{node(t, proxy.URL(), 0, 0), node(t, proxy.URL(), 0, 0)}
			proxy.SetMode(t, mode)
			const most = 100 * time.Millisecond
			var w *workers
			await.Undisturbed(t, most/4, func() error {
				w = &workers{took: make([]time.Duration, 0, 1<<12)}
				w.work(t, nodes)
				slices.Sort(w.took)
				p99 := w.took[len(w.took)*99/100]
				t.Logf("%d calls, done %d, twice at once %d, turned away %d, p99 %s", len(w.took), w.done, w.twice, w.away, p99)
				if p99 > most {
					return fmt.Errorf("p99 of acquiring and releasing is %s", p99)
				}
				return nil
			})
			if mode == testserver.RedisDenyAll {
				if w.away == 0 {
					t.Error("no caller was refused")
				}
			} else if w.done == 0 {
				t.Error("the work was never done")
			}
		})
	}
}

// workers do work that may be done twice.
type workers struct {
	mu                sync.Mutex
	done, twice, away int
	doing             map[string]int
	took              []time.Duration
}

// work has eight workers on two nodes go for the same pieces of work.
func (w *workers) work(t *testing.T, nodes []lease.Leases) {
	t.Helper()
	rounds := dice.Count(t, 100, 10_000)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range rounds {
				w.round(t, nodes[i%2], fmt.Sprintf("%d", n%5))
			}
		})
	}
	all.Wait()
}

func (w *workers) count(name string, by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.doing == nil {
		w.doing = map[string]int{}
	}
	w.doing[name] += by
	if by > 0 {
		w.done++
		if w.doing[name] > 1 {
			w.twice++
		}
	}
}

func (w *workers) round(t *testing.T, l lease.Leases, name string) {
	start := time.Now()
	held, note, ok := l.Acquire(t.Context(), lease.Key{Kind: "test", Name: name}, "note of "+name)
	took := time.Since(start)
	if ok {
		w.count(name, 1)
		for range 100 {
			runtime.Gosched() // others have their chance to do it too
		}
		w.count(name, -1)
		start = time.Now()
		held.Release()
		took = max(took, time.Since(start))
	} else if note != "" && note != "note of "+name {
		t.Errorf("the note of %s is %q", name, note)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = append(w.took, took)
	if !ok {
		w.away++
	}
}
