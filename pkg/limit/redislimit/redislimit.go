// Package redislimit counts failures for all processes that share a Redis.
package redislimit

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-registry/berth/pkg/boot/redisconn"
	"github.com/berth-registry/berth/pkg/limit"
)

// Limit is a limit.Failures in which the failures of all processes count. Each
// process counts its own as well, and refuses by its own count whatever Redis
// says: nothing that happens to Redis gives anyone more attempts than
// limit.Local does (protocol section 8).
type Limit struct {
	redis *redis.Client
	local *limit.Local
	every time.Duration // one attempt comes back
	burst int
}

var _ limit.Failures = (*Limit)(nil)

// New allows n failures at once, and n in every period after that, over all
// processes whose client, made by redisconn.Open, leads to the same Redis. n is
// at least 1.
func New(client *redis.Client, n int, period time.Duration) *Limit {
	return &Limit{redis: client, local: limit.NewLocal(n, period), every: period / time.Duration(n), burst: n}
}

// Check implements limit.Failures.
func (l *Limit) Check(ctx context.Context, k limit.Key) error {
	if err := l.local.Check(ctx, k); err != nil {
		return err
	}
	owed, err := l.ask(ctx, k, 0)
	if err != nil {
		return nil //nolint:nilerr // Redis could not say; the local count allowed it
	}
	if wait := owed - time.Duration(l.burst-1)*l.every; wait > 0 {
		return limit.Refused(wait)
	}
	return nil
}

// Add implements limit.Failures.
func (l *Limit) Add(ctx context.Context, k limit.Key) error {
	if err := l.local.Add(ctx, k); err != nil {
		return err
	}
	// The failure counts whether or not the one who failed waits for the answer.
	_, _ = l.ask(context.WithoutCancel(ctx), k, 1)
	return nil
}

// count is the generic cell rate algorithm: the key holds the time at which all
// attempts will have come back, in microseconds of Redis's clock. (redis_rate
// does the same otherwise, but forgets what failed beyond the allowance.)
//
// KEYS: the key. ARGV: the failures to add, the time in which one comes back, the
// most time that can be owed.
var count = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if not full or not (full >= now) then full = now end
local owed = math.min(full - now + ARGV[1] * ARGV[2], tonumber(ARGV[3]))
if tonumber(ARGV[1]) > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', now + owed), 'PX', math.ceil(owed / 1000))
end
return math.floor(owed)`)

// ask adds failures and returns the time in which all will have come back.
func (l *Limit) ask(ctx context.Context, k limit.Key, failures int) (time.Duration, error) {
	key := redisconn.Key("failures", k.Kind, strconv.FormatInt(int64(k.Tenant), 10), k.Name)
	most := limit.MaxOwed * time.Duration(l.burst) * l.every
	owed, err := count.Run(ctx, l.redis, []string{key}, failures, l.every.Microseconds(), most.Microseconds()).Int64()
	return time.Duration(min(owed, most.Microseconds())) * time.Microsecond, err
}
