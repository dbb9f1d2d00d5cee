package redisconn_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot/redisconn"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/tools/testserver"
)

// patient is for tests that want an answer, on a machine that does much else.
const patient = 5 * time.Second

func open(t *testing.T, o redisconn.Options) *redis.Client {
	t.Helper()
	c, err := redisconn.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestOpen_WrongURLNamesTheSetting(t *testing.T) {
	for _, url := range []string{
		"memcached://cache", "redis://cache:notaport", "redis://cache/notadb", "redis://cache?colour=blue",
		"redis://user:hunter2hunter2@ca che", "redis://user:hunter2hunter2@cache:x/%zz", "rediss://cache?skip_verify=true", ":",
	} {
		c, err := redisconn.Open(t.Context(), redisconn.Options{URL: url})
		if err == nil {
			t.Errorf("%s: no error", url)
			_ = c.Close()
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "redis: ") || strings.Contains(text, "hunter2") || strings.Contains(text, "\n") {
			t.Errorf("%s: %q", url, text)
		}
	}
}

func TestOpen_LimitsAreOurs(t *testing.T) {
	c := open(t, redisconn.Options{URL: testserver.StartRedis(t).URL() + "?read_timeout=60s&dial_timeout=60s&pool_timeout=60s&max_retries=9&pool_size=5000&max_active_conns=5000"})
	o := c.Options()
	for what, d := range map[string]time.Duration{"read": o.ReadTimeout, "write": o.WriteTimeout, "pool": o.PoolTimeout} {
		if d > 50*time.Millisecond {
			t.Errorf("%s timeout %s", what, d)
		}
	}
	if o.DialTimeout > time.Second {
		t.Errorf("dial timeout %s", o.DialTimeout)
	}
	if o.MaxRetries != 0 || o.DialerRetries != 1 || o.MaxActiveConns > 16 || o.PoolSize > 16 {
		t.Errorf("retries %d, dialer's %d, connections %d, pool %d", o.MaxRetries, o.DialerRetries, o.MaxActiveConns, o.PoolSize)
	}
}

// A Redis that is down when the process starts is used once it is there.
func TestR14_DownAtStart(t *testing.T) {
	server := testserver.StartRedis(t)
	server.Kill()
	var log bytes.Buffer
	c := open(t, redisconn.Options{URL: "redis://:hunter2hunter2@" + server.Addr(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if text := log.String(); !strings.Contains(text, "level=WARN") || strings.Contains(text, "hunter2") {
		t.Errorf("log %q", text)
	}
	if err := redisconn.Ping(t.Context(), c); err == nil {
		t.Error("a stopped server answers")
	}
	server.Start()
	server.Do("CONFIG", "SET", "requirepass", "hunter2hunter2")
	await.True(t, 30*time.Second, "Redis answers", func() bool { return redisconn.Ping(t.Context(), c) == nil })
}

// What is wrong with Redis costs a call 100 ms at most, and calls work again
// when Redis does.
func TestR14_CallsAreBounded(t *testing.T) {
	t.Parallel()
	server := testserver.StartRedis(t)
	for _, mode := range []testserver.RedisMode{
		testserver.RedisRefused, testserver.RedisBlackhole, testserver.RedisSlow, testserver.RedisReset,
		testserver.RedisDropRequests, testserver.RedisDropReplies,
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			proxy := testserver.StartLyingRedis(t, server.Addr())
			c := open(t, redisconn.Options{URL: proxy.URL()})
			await.True(t, 30*time.Second, "Redis answers", func() bool { return redisconn.Ping(t.Context(), c) == nil })
			proxy.SetMode(t, mode)
			calls := dice.Count(t, 300, 30_000)
			var slow int
			for range calls {
				start := time.Now()
				_, err := c.Get(t.Context(), "key").Result()
				if time.Since(start) > 100*time.Millisecond {
					slow++
				}
				if err == nil {
					t.Fatal("a call succeeded")
				}
			}
			if slow > calls/100 {
				t.Errorf("%d of %d calls took more than 100 ms", slow, calls)
			}
			proxy.SetMode(t, testserver.RedisHonest)
			await.True(t, 30*time.Second, "the value is gone", func() bool { return errors.Is(c.Get(t.Context(), "key").Err(), redis.Nil) })
		})
	}
}

// A host that drops packets does not even refuse a connection.
func TestR14_NobodyTakesTheConnection(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, redisconn.Options{URL: "redis://" + address(name)})
	took := make([]time.Duration, 200)
	for i := range took { // the first fill the queue of a listener that accepts no connection
		start := time.Now()
		if err := redisconn.Ping(t.Context(), c); err == nil {
			t.Fatal("an answer")
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	if p99 := took[len(took)*99/100]; p99 > 100*time.Millisecond {
		t.Errorf("p99 of a call is %s", p99)
	}
}

// A server whose certificate no trusted authority signed is sent nothing.
func TestE15_TLSIsVerified(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", certified.TLS)
	if err != nil {
		t.Fatal(err)
	}
	var connections, told atomic.Int64
	var serving sync.WaitGroup
	serving.Go(func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			connections.Add(1)
			n, _ := conn.Read(make([]byte, 1)) // shakes hands first
			told.Add(int64(n))
			_ = conn.Close()
		}
	})
	c := open(t, redisconn.Options{URL: "rediss://:hunter2hunter2@" + l.Addr().String(), Timeout: patient})
	var unknown *tls.CertificateVerificationError
	if err := redisconn.Ping(t.Context(), c); !errors.As(err, &unknown) {
		t.Errorf("%v, want that the certificate is not known", err)
	}
	_ = l.Close()
	serving.Wait()
	if connections.Load() == 0 || told.Load() != 0 {
		t.Errorf("%d connections were told %d bytes", connections.Load(), told.Load())
	}
}

// Callers that leave say nothing about Redis.
func TestBreaker_CallersThatLeave(t *testing.T) {
	c := open(t, redisconn.Options{URL: testserver.StartRedis(t).URL(), Timeout: patient})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if err := redisconn.Ping(gone, c); err == nil {
			t.Fatal("an answer for no one")
		}
	}
	if err := redisconn.Ping(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// Redis's own errors are answers, and the caller gets to see them.
func TestBreaker_ErrorsOfRedisAreAnswers(t *testing.T) {
	c := open(t, redisconn.Options{URL: testserver.StartRedis(t).URL(), Timeout: patient})
	for range 10 {
		if err := c.Do(t.Context(), "NOSUCHCOMMAND").Err(); err == nil || !strings.Contains(err.Error(), "unknown command") {
			t.Fatal(err)
		}
	}
}

// A restart of Redis is not noticed by more than a few calls.
func TestR15_Restart(t *testing.T) {
	server := testserver.StartRedis(t)
	c := open(t, redisconn.Options{URL: server.URL(), Timeout: patient})
	if err := redisconn.Ping(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		server.Restart()
		// The connection that was idle is seen to be dead before it is used.
		if err := redisconn.Ping(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
}

func TestB13_KeysAreApart(t *testing.T) {
	seen := map[string][]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"a:b", "c"}, {"a", "b:c"}, {"ab", "c"}, {"a", "bc"}, {"abc"}, {"a", "b", "c"}} {
		k := redisconn.Key("use", parts...)
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q have one key", parts, other)
		}
		if len(k) != len("berth:use:")+43 {
			t.Errorf("key %s", k)
		}
		seen[k] = parts
	}
}
