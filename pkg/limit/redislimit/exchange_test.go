package redislimit_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot/redisconn"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/limit/redislimit"
	"github.com/berth-registry/berth/tools/testserver"
)

// member is a process that tells others what it lets through.
func member(t *testing.T, url string) (*limit.Rates, *redislimit.Exchange) {
	t.Helper()
	c, err := redisconn.Open(t.Context(), redisconn.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	rates := limit.NewRates()
	e := redislimit.NewExchange(c, rates, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { e.Run(t.Context()); close(done) }()
	t.Cleanup(func() { <-done })
	return rates, e
}

func TestW231_ProcessesTellOneAnotherByRedis(t *testing.T) {
	t.Parallel()
	server := testserver.StartRedis(t)
	a, exchange := member(t, server.URL())
	b, _ := member(t, server.URL())
	const rate = 100
	// What one process lets through is gone in the other one, which has saved up as much.
	await.True(t, 30*time.Second, "what a uses counts in b", func() bool {
		b.Take(account, rate, 1)
		for a.Take(account, rate, 1) == 0 {
		}
		return b.Take(account, rate, rate) > 0
	})
	await.True(t, 30*time.Second, "both know that they are two", func() bool {
		b.Take(account, rate, 1)
		return exchange.Members() == 2
	})

	server.Kill()
	used := limit.Key{Kind: "requests", Tenant: 1, Name: "of half"}
	await.True(t, 30*time.Second, "each has half of the rate while Redis is gone", func() bool {
		for a.Take(used, rate, 1) == 0 {
		}
		return a.Take(used, rate, rate/2) > 900*time.Millisecond
	})
}
