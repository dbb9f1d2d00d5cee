package redislimit

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/berth-registry/berth/pkg/boot/redisconn"
	"github.com/berth-registry/berth/pkg/limit"
)

const (
	// tick is how late a process learns what others used.
	tick = 200 * time.Millisecond
	// mostUses is how many keys a process tells at a tick.
	mostUses = 1024
	// countLife is how long Redis keeps the count of a key that is not used.
	countLife = time.Minute
	// memberLife is how long a process counts after its last sign, and after its last use.
	memberLife = 10 * time.Second
	// mostMembers bounds the number of processes that Redis may make a process believe in.
	mostMembers = 1000
)

// Exchange tells the processes that share a Redis what each of them uses of limit.Rates.
// While Redis does not answer, each has an equal share of the rates, of as many processes as
// were at work when it last answered.
type Exchange struct {
	redis *redis.Client
	rates *limit.Rates
	log   *slog.Logger
	id    string

	members atomic.Int64
	used    time.Time // when this process last used something
	beaten  time.Time // when it last gave a sign
	alone   bool      // Redis does not answer
}

// NewExchange makes the Exchange of a process; Run does the work. The client, made by
// redisconn.Open, leads to the same Redis in all processes.
func NewExchange(client *redis.Client, rates *limit.Rates, log *slog.Logger) *Exchange {
	rates.Untold(0) // counts from now on
	e := &Exchange{redis: client, rates: rates, log: log, id: uuid.NewString()}
	e.members.Store(1)
	return e
}

// Members is how many processes were at work when Redis last answered; 1 at least.
func (e *Exchange) Members() int64 { return e.members.Load() }

// Run exchanges until ctx ends.
func (e *Exchange) Run(ctx context.Context) {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticks.C:
			e.exchange(ctx, now)
		}
	}
}

func (e *Exchange) exchange(ctx context.Context, now time.Time) {
	uses := e.rates.Untold(mostUses)
	if len(uses) > 0 {
		e.used = now
	}
	if now.Sub(e.used) > memberLife {
		return // idle: neither counts as a process at work, nor has to know
	}
	err := e.tell(ctx, uses)
	if err == nil && now.Sub(e.beaten) > memberLife/10 {
		err = e.beat(ctx)
		e.beaten = now
	}
	switch {
	case err == nil && e.alone:
		e.log.InfoContext(ctx, "rate limits count in all processes together again")
		e.rates.SetShare(1)
	case err != nil && !e.alone && ctx.Err() == nil:
		e.log.WarnContext(ctx, "Redis does not say what other processes use of rate limits; each has a share of them", "processes", e.Members(), "error", err)
		e.rates.SetShare(1 / float64(e.Members()))
	}
	e.alone = err != nil
}

// tell adds the uses to the counts of all processes, and takes these in.
func (e *Exchange) tell(ctx context.Context, uses []limit.Use) error {
	if len(uses) == 0 {
		return nil
	}
	pipe := e.redis.Pipeline()
	totals := make([]*redis.IntCmd, len(uses))
	for i, u := range uses {
		key := redisconn.Key("rates", u.Key.Kind, strconv.FormatInt(int64(u.Key.Tenant), 10), u.Key.Name)
		totals[i] = pipe.IncrBy(ctx, key, u.N)
		pipe.PExpire(ctx, key, countLife)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, u := range uses {
		e.rates.Told(u, totals[i].Val())
	}
	return nil
}

// sign adds a process to those at work, and counts them.
//
// KEYS: the set. ARGV: the process, how long it counts in milliseconds.
var sign = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])`)

func (e *Exchange) beat(ctx context.Context) error {
	n, err := sign.Run(ctx, e.redis, []string{redisconn.Key("rates members")}, e.id, memberLife.Milliseconds()).Int64()
	if err == nil {
		e.members.Store(min(max(n, 1), mostMembers))
		e.rates.SetMembers(e.Members())
	}
	return err
}
