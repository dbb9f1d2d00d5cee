package testserver_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/tools/testserver"
)

// client talks to a Redis without retries.
func client(t *testing.T, url string, timeout time.Duration) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRetries, o.DialerRetries, o.Protocol, o.DisableIdentity = -1, 1, 2, true
	o.ReadTimeout, o.DialTimeout = timeout, timeout
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRedisServer(t *testing.T) {
	s := testserver.StartRedis(t)
	if got := s.Do("SET", "k", "v"); got != "OK" {
		t.Errorf("SET: %v", got)
	}
	s.Flush()
	if got := s.Do("GET", "k"); got != nil {
		t.Errorf("after a flush: %v", got)
	}
	s.Pause()
	c := client(t, s.URL(), 50*time.Millisecond)
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("a paused server answers")
	}
	s.Resume()
	s.Do("SET", "k", "v")
	s.Restart()
	if got := s.Do("GET", "k"); got != nil {
		t.Errorf("after a restart: %v", got)
	}
	s.Kill()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("a killed server answers")
	}
}

// lock asks for a lock as Berth's leases do.
func lock(t *testing.T, c *redis.Client, key string) (bool, error) {
	t.Helper()
	err := c.Do(t.Context(), "SET", key, "me", "NX", "PX", "60000").Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

func TestR16_LyingRedisLies(t *testing.T) {
	s := testserver.StartRedis(t)
	proxy := testserver.StartLyingRedis(t, s.Addr())
	c := client(t, proxy.URL(), time.Minute)
	try := func(mode testserver.RedisMode, key string, want bool) {
		t.Helper()
		proxy.SetMode(t, mode)
		if got, err := lock(t, c, key); err != nil || got != want {
			t.Errorf("%s: lock of %s %v, %v; want %v", mode, key, got, err, want)
		}
	}
	try(testserver.RedisHonest, "a", true)
	try(testserver.RedisHonest, "a", false)
	try(testserver.RedisGrantAll, "a", true)
	try(testserver.RedisDenyAll, "b", false)
	try(testserver.RedisExpireNow, "c", true)
	try(testserver.RedisHonest, "c", true)
	proxy.SetMode(t, testserver.RedisFlush)
	await.True(t, 30*time.Second, "the lock is flushed", func() bool {
		free, err := lock(t, c, "a")
		if err != nil {
			t.Fatal(err)
		}
		return free
	})
}

func TestR14_LyingRedisFails(t *testing.T) {
	s := testserver.StartRedis(t)
	for _, mode := range []testserver.RedisMode{
		testserver.RedisRefused, testserver.RedisBlackhole, testserver.RedisDropRequests, testserver.RedisDropReplies,
		testserver.RedisSlow, testserver.RedisReset,
	} {
		proxy := testserver.StartLyingRedis(t, s.Addr())
		c := client(t, proxy.URL(), 100*time.Millisecond)
		answers := func() bool { return c.Ping(t.Context()).Err() == nil }
		await.True(t, 30*time.Second, "Redis answers", answers)
		proxy.SetMode(t, mode)
		key := string(mode)
		if _, err := lock(t, c, key); err == nil {
			t.Errorf("%s: an answer", mode)
		}
		arrived := mode != testserver.RedisRefused && mode != testserver.RedisBlackhole && mode != testserver.RedisDropRequests
		if arrived {
			await.True(t, 30*time.Second, "the server is told", func() bool { return s.Do("GET", key) != nil })
		} else if s.Do("GET", key) != nil {
			t.Errorf("%s: the server was told", mode)
		}
		proxy.SetMode(t, testserver.RedisHonest)
		await.True(t, 30*time.Second, "Redis answers again", answers)
	}
}

func TestR17_LyingRedisCutsOneWay(t *testing.T) {
	s := testserver.StartRedis(t)
	proxy := testserver.StartLyingRedis(t, s.Addr())
	c := client(t, proxy.URL(), time.Minute)
	sub := c.Subscribe(t.Context(), "news")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy.SetMode(t, testserver.RedisDropRequests)
	s.Do("PUBLISH", "news", "through")
	if m, err := sub.ReceiveMessage(t.Context()); err != nil || m.Payload != "through" {
		t.Errorf("requests dropped: %v, %v", m, err)
	}
	proxy.SetMode(t, testserver.RedisDropReplies)
	s.Do("PUBLISH", "news", "lost")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if m, err := sub.ReceiveMessage(ctx); err == nil {
		t.Errorf("replies dropped: %v", m)
	}
}
