package redislimit_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/boot/redisconn"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/limit/redislimit"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// patient is for tests that want an answer, on a machine that does much else.
const patient = 5 * time.Second

// An hour, so that nothing comes back while a test runs.
const (
	allowed = 10
	period  = time.Hour
)

// node is the limit of a process; 0 as timeout is the product's own.
func node(t *testing.T, url string, timeout time.Duration) *redislimit.Limit {
	t.Helper()
	c, err := redisconn.Open(t.Context(), redisconn.Options{URL: url, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return redislimit.New(c, allowed, period)
}

var account = limit.Key{Kind: "account", Tenant: 1, Name: "ci"}

// fail is a login that fails, if it is let in.
func fail(t *testing.T, l limit.Failures, k limit.Key) error {
	t.Helper()
	if err := l.Check(t.Context(), k); err != nil {
		return err
	}
	return l.Add(t.Context(), k)
}

func wantRefused(t *testing.T, l limit.Failures, k limit.Key) {
	t.Helper()
	err := l.Check(t.Context(), k)
	if fault.KindOf(err) != fault.TooMany {
		t.Errorf("%v: %v, want too many", k, err)
		return
	}
	if wait := fault.From(err).RetryAfter; wait <= 0 || wait > period/allowed {
		t.Errorf("%v: Retry-After %s", k, wait)
	}
}

func TestB10_FailuresCountAcrossNodes(t *testing.T) {
	server := testserver.StartRedis(t)
	a, b, c := node(t, server.URL(), patient), node(t, server.URL(), patient), node(t, server.URL(), patient)
	for i := range allowed {
		if err := fail(t, []limit.Failures{a, b}[i%2], account); err != nil {
			t.Fatalf("failure %d: %v", i+1, err)
		}
	}
	for _, l := range []limit.Failures{a, b, c} {
		wantRefused(t, l, account)
		for _, other := range []limit.Key{
			{Kind: "account", Tenant: 2, Name: "ci"},
			{Kind: "account", Tenant: 1, Name: "ci2"},
			{Kind: "address", Tenant: 1, Name: "ci"},
			{Kind: "accountci", Tenant: 1},
			{Kind: "account", Tenant: 11, Name: "ci"},
		} {
			if err := l.Check(t.Context(), other); err != nil {
				t.Errorf("%v: %v", other, err)
			}
		}
	}
	for range 1000 {
		if err := fail(t, c, account); fault.KindOf(err) != fault.TooMany {
			t.Fatal(err)
		}
	}
}

// What has come back may be used on any node, and what was owed is waited for.
func TestB10_AttemptsComeBack(t *testing.T) {
	server := testserver.StartRedis(t)
	client, err := redisconn.Open(t.Context(), redisconn.Options{URL: server.URL(), Timeout: patient})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const every = 300 * time.Millisecond
	a, b := redislimit.New(client, 2, 2*every), redislimit.New(client, 2, 2*every)
	start := time.Now()
	for range 4 { // side by side: all were let in
		if err := a.Add(t.Context(), account); err != nil {
			t.Fatal(err)
		}
	}
	for {
		err := b.Check(t.Context(), account)
		waited := time.Since(start)
		if err == nil {
			if waited < 3*every {
				t.Errorf("an attempt came back after %s", waited)
			}
			break
		}
		if wait := fault.From(err).RetryAfter; fault.KindOf(err) != fault.TooMany || wait > 3*every || waited > 30*time.Second {
			t.Fatalf("after %s: %v, retry after %s", waited, err, wait)
		}
	}
	for server.Do("DBSIZE") != int64(0) { // keys go by themselves
	}
}

// A key lives as long as something is owed, to the millisecond.
func TestB10_KeysLiveWhileSomethingIsOwed(t *testing.T) {
	server := testserver.StartRedis(t)
	l := node(t, server.URL(), patient)
	begun := time.Now()
	for range 3 {
		if err := l.Add(t.Context(), account); err != nil {
			t.Fatal(err)
		}
	}
	keys, ok := server.Do("KEYS", "*").([]any)
	if !ok || len(keys) != 1 {
		t.Fatalf("keys %v", keys)
	}
	left, _ := server.Do("PTTL", fmt.Sprint(keys[0])).(int64)
	owed := 3 * period / allowed
	if life := time.Duration(left) * time.Millisecond; life > owed || life < owed-time.Since(begun)-time.Millisecond {
		t.Errorf("the key lives for %s, and %s are owed", life, owed)
	}
}

// A Check costs no one anything, and no memory.
func TestB10_SuccessesAreFree(t *testing.T) {
	server := testserver.StartRedis(t)
	l := node(t, server.URL(), patient)
	for range 100 {
		if err := l.Check(t.Context(), account); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.Do("DBSIZE"); n != int64(0) {
		t.Errorf("%v keys", n)
	}
}

// Parallel failures on many nodes are all counted.
func TestB10_ParallelFailures(t *testing.T) {
	server := testserver.StartRedis(t)
	nodes := []limit.Failures{node(t, server.URL(), patient), node(t, server.URL(), patient)}
	var all sync.WaitGroup
	for i := range allowed {
		all.Go(func() {
			if err := nodes[i%2].Add(t.Context(), account); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	wantRefused(t, node(t, server.URL(), patient), account)
}

// Whatever happens to Redis, a node lets no more failures in than it would by
// itself, refuses no one who has not failed, has no other answer than these two,
// and does not take long.
func TestB10_R16_LyingRedis(t *testing.T) {
	server := testserver.StartRedis(t)
	for _, mode := range slices.Concat(testserver.RedisModes, []testserver.RedisMode{testserver.RedisHonest}) {
		t.Run(string(mode), func(t *testing.T) {
			server.Flush()
			proxy := testserver.StartLyingRedis(t, server.Addr())
			nodes := []limit.Failures{node(t, proxy.URL(), 0), node(t, proxy.URL(), 0)}
			proxy.SetMode(t, mode)
			w := &logins{let: map[string]int{}}
			tries := dice.Count(t, 100, 1000)
			var all sync.WaitGroup
			for i, l := range nodes {
				all.Go(func() { w.attack(t, l, fmt.Sprintf("victim%d", i), tries) })
				all.Go(func() { w.innocent(t, l, fmt.Sprintf("innocent%d", i), 2*tries) })
			}
			all.Wait()
			for i, l := range nodes {
				victim := fmt.Sprintf("victim%d", i)
				if n := w.let[victim]; n != allowed {
					t.Errorf("%s: %d failures were let in, want %d", victim, n, allowed)
				}
				wantRefused(t, l, limit.Key{Kind: "account", Tenant: 1, Name: victim})
			}
			slices.Sort(w.took)
			p99 := w.took[len(w.took)*99/100]
			t.Logf("%d calls, p99 %s", len(w.took), p99)
			if p99 > 100*time.Millisecond {
				t.Errorf("p99 of a call is %s", p99)
			}
		})
	}
}

// logins count what was let in, and how long it took.
type logins struct {
	mu   sync.Mutex
	let  map[string]int
	took []time.Duration
}

func (w *logins) call(t *testing.T, name string, run func() error) bool {
	t.Helper()
	start := time.Now()
	err := run()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = append(w.took, time.Since(start))
	if err != nil && fault.KindOf(err) != fault.TooMany {
		t.Errorf("%s: %v", name, err)
	}
	return err == nil
}

// attack fails again and again.
func (w *logins) attack(t *testing.T, l limit.Failures, name string, tries int) {
	k := limit.Key{Kind: "account", Tenant: 1, Name: name}
	for range tries {
		if w.call(t, name, func() error { return l.Check(t.Context(), k) }) {
			w.call(t, name, func() error { return l.Add(t.Context(), k) })
			w.mu.Lock()
			w.let[name]++
			w.mu.Unlock()
		}
	}
}

// innocent logs in with the right secret, and is never refused.
func (w *logins) innocent(t *testing.T, l limit.Failures, name string, tries int) {
	k := limit.Key{Kind: "account", Tenant: 1, Name: name}
	for range tries {
		if !w.call(t, name, func() error { return l.Check(t.Context(), k) }) {
			t.Errorf("%s was refused", name)
		}
	}
}

// With Redis down from the start, the eleventh failure is refused.
func TestB10_RedisDown(t *testing.T) {
	server := testserver.StartRedis(t)
	server.Kill()
	l := node(t, server.URL(), 0)
	for i := range 1000 {
		if err := fail(t, l, account); (err != nil) != (i >= allowed) || err != nil && fault.KindOf(err) != fault.TooMany {
			t.Fatalf("failure %d: %v", i+1, err)
		}
	}
	wantRefused(t, l, account)
}

// What Redis forgets, the node that saw it still knows.
func TestB10_R15_RedisForgets(t *testing.T) {
	server := testserver.StartRedis(t)
	l := node(t, server.URL(), patient)
	for i := range allowed {
		if err := fail(t, l, account); err != nil {
			t.Fatalf("failure %d: %v", i+1, err)
		}
		if i%2 == 0 {
			server.Flush()
		} else {
			server.Restart()
		}
	}
	wantRefused(t, l, account)
}

// Invalid values do no more than start the count again.
func TestR16_ForeignValues(t *testing.T) {
	server := testserver.StartRedis(t)
	l := node(t, server.URL(), patient)
	if err := l.Add(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	key := server.Do("KEYS", "*").([]any)[0].(string)
	for _, value := range []string{"", "x", "-1", "nan", "inf", "1e400", "0x10", "9999999999999999999999"} {
		server.Do("SET", key, value)
		err := l.Check(t.Context(), account)
		if err != nil && fault.KindOf(err) != fault.TooMany {
			t.Errorf("%q: %v", value, err)
		}
		if err := l.Add(t.Context(), limit.Key{Kind: "address", Name: value}); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	}
	server.Do("DEL", key)
	server.Do("LPUSH", key, "a list")
	if err := errors.Join(l.Check(t.Context(), account), l.Add(t.Context(), account)); err != nil {
		t.Error(err)
	}
}
