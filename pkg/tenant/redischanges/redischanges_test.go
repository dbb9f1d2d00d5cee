package redischanges_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot/redisconn"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/tenant/redischanges"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// patient is for tests that want an answer, on a machine that does much else.
const patient = 5 * time.Second

func connect(t *testing.T, url string, timeout time.Duration) *redis.Client {
	t.Helper()
	c, err := redisconn.Open(t.Context(), redisconn.Options{URL: url, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// node is a process that listens and counts its clears.
type node struct {
	*redischanges.Changes
	clears atomic.Int64
}

func start(t *testing.T, c *redis.Client) *node {
	t.Helper()
	n := &node{}
	n.Changes = redischanges.New(c, slog.New(slog.DiscardHandler), func() { n.clears.Add(1) })
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	t.Cleanup(func() {
		stopping := time.Now()
		cancel()
		running.Wait()
		if d := time.Since(stopping); d > 10*time.Second {
			t.Errorf("it stopped after %s", d)
		}
	})
	return n
}

// listening waits until the node has cleared for its subscription.
func (n *node) listening(t *testing.T) {
	t.Helper()
	await.True(t, 30*time.Second, "the subscription", func() bool { return n.clears.Load() > 0 })
}

// cleared waits for a clear since there were so many.
func (n *node) cleared(t *testing.T, since int64) {
	t.Helper()
	await.True(t, 30*time.Second, "a clear", func() bool { return n.clears.Load() > since })
}

func TestOthersAreTold(t *testing.T) {
	t.Parallel()
	server := testserver.StartRedis(t)
	a, b := start(t, connect(t, server.URL(), patient)), start(t, connect(t, server.URL(), patient))
	a.listening(t)
	b.listening(t)
	before := a.clears.Load()
	for range 5 {
		seen := b.clears.Load()
		a.Announce(t.Context())
		b.cleared(t, seen)
	}
	if n := a.clears.Load(); n != before {
		t.Errorf("the one who announced cleared %d times more", n-before)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	seen := b.clears.Load()
	a.Announce(gone)
	b.cleared(t, seen)
}

// What was announced while a node could not hear is made up for.
func TestR15_ClearsOnReconnect(t *testing.T) {
	t.Parallel()
	server := testserver.StartRedis(t)
	n := start(t, connect(t, server.URL(), patient))
	for range 2 {
		n.listening(t)
		seen := n.clears.Load()
		server.Restart()
		n.cleared(t, seen)
	}
	server.Kill()
	down := start(t, connect(t, server.URL(), 0)) // and down at start
	server.Start()
	down.listening(t)
}

// A subscription whose one direction is cut is made again.
func TestR17_OneWay(t *testing.T) {
	t.Parallel()
	server := testserver.StartRedis(t)
	for _, mode := range []testserver.RedisMode{testserver.RedisDropRequests, testserver.RedisDropReplies, testserver.RedisBlackhole} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			proxy := testserver.StartLyingRedis(t, server.Addr())
			n := start(t, connect(t, proxy.URL(), 0))
			n.listening(t)
			proxy.SetMode(t, mode)
			commands := proxy.Commands()
			await.True(t, 30*time.Second, "the node to ask, and to try again", func() bool { return proxy.Commands() > commands+1 })
			seen := n.clears.Load()
			proxy.SetMode(t, testserver.RedisHonest)
			n.cleared(t, seen)
			seen = n.clears.Load()
			server.Do("PUBLISH", "berth:hosts", "another")
			n.cleared(t, seen)
		})
	}
}

// A flood of messages clears ten times a second, and the last one counts.
func TestF4_FloodDoesNotSwitchTheCacheOff(t *testing.T) {
	server := testserver.StartRedis(t)
	c := connect(t, server.URL(), patient)
	n := start(t, c)
	n.listening(t)
	before, began := n.clears.Load(), time.Now()
	for time.Since(began) < time.Second {
		pipe := c.Pipeline()
		for range 100 {
			pipe.Publish(t.Context(), "berth:hosts", "\x00 not trusted")
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n.Announce(t.Context()) // its own does not count
	clears, most := n.clears.Load()-before, int64(time.Since(began)/(100*time.Millisecond))+2
	if clears < 2 || clears > most {
		t.Errorf("%d clears in %s, want at most %d", clears, time.Since(began), most)
	}
	seen := n.clears.Load()
	server.Do("PUBLISH", "berth:hosts", "the last one")
	n.cleared(t, seen)
}

// Announcing never takes long, and the node lives on.
func TestR14_R16_LyingRedis(t *testing.T) {
	t.Parallel()
	server := testserver.StartRedis(t)
	for _, mode := range testserver.RedisModes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			proxy := testserver.StartLyingRedis(t, server.Addr())
			n := start(t, connect(t, proxy.URL(), 0))
			n.listening(t)
			proxy.SetMode(t, mode)
			calls := dice.Count(t, 200, 20_000)
			took := make([]time.Duration, calls)
			for i := range took {
				began := time.Now()
				n.Announce(t.Context())
				took[i] = time.Since(began)
			}
			slices.Sort(took)
			if p99 := took[calls*99/100]; p99 > 100*time.Millisecond {
				t.Errorf("p99 of announcing is %s", p99)
			}
			proxy.SetMode(t, testserver.RedisHonest)
			await.True(t, 30*time.Second, "messages to come through", func() bool {
				seen := n.clears.Load()
				server.Do("PUBLISH", "berth:hosts", "another")
				return n.clears.Load() > seen
			})
		})
	}
}

// sites is a finder whose answer the test changes.
type sites struct{ id atomic.Int64 }

func (s *sites) FindSite(context.Context, tenant.Lookup) (tenant.Site, error) {
	return tenant.Site{Tenant: tenant.ID(s.id.Load())}, nil
}

// A change made through one node is seen by the others long before CacheTTL,
// and without Redis once that is over.
func TestR14_StalenessIsBounded(t *testing.T) {
	t.Parallel()
	server := testserver.StartRedis(t)
	pattern, err := tenant.NewPattern(tenant.DotPattern, "reg.example")
	if err != nil {
		t.Fatal(err)
	}
	finder := &sites{}
	directory := tenant.NewDirectory(finder, pattern)
	resolve := func() int64 {
		site, err := directory.Resolve(t.Context(), "acme.reg.example")
		if err != nil {
			t.Fatal(err)
		}
		return int64(site.Tenant)
	}
	listener := connect(t, server.URL(), patient)
	there := redischanges.New(listener, slog.New(slog.DiscardHandler), directory.Clear)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { there.Run(ctx) })
	defer func() { cancel(); running.Wait() }()
	await.True(t, 30*time.Second, "the subscription", func() bool { return listener.PubSubNumSub(t.Context(), "berth:hosts").Val()["berth:hosts"] == 1 })

	here := redischanges.New(connect(t, server.URL(), patient), slog.New(slog.DiscardHandler), func() {})
	resolve()
	finder.id.Store(1)
	changed := time.Now()
	here.Announce(t.Context())
	await.True(t, 30*time.Second, "the change", func() bool { return resolve() == 1 })
	if d := time.Since(changed); d > tenant.CacheTTL/2 {
		t.Errorf("it was seen after %s", d)
	}

	server.Kill()
	resolve()
	finder.id.Store(2)
	changed = time.Now()
	here.Announce(t.Context())
	await.True(t, 30*time.Second, "the change", func() bool { return resolve() == 2 })
	if d := time.Since(changed); d > tenant.CacheTTL+time.Second {
		t.Errorf("without Redis it was seen after %s", d)
	}
}
