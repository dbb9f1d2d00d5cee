package redislease

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-registry/berth/pkg/lease"
)

// renew prolongs a lease, also one that Redis forgot while no other caller took it.
// It answers 0 when another has it.
var renew = redis.NewScript(`
local value = redis.call('GET', KEYS[1])
if value and value ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

// release removes a lease, unless another has it.
var release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

// held is a lease of this process.
type held struct {
	leases     *Leases
	local      lease.Lease
	key, value string

	lost    chan struct{}
	stop    context.CancelFunc
	stopped chan struct{}
	once    sync.Once
}

// start renews the lease, which is ours until the given time, until it is
// released or lost.
func (h *held) start(until time.Time) {
	h.lost, h.stopped = make(chan struct{}), make(chan struct{})
	// The lease is the caller's until its Release, whatever its request's context says.
	var ctx context.Context
	ctx, h.stop = context.WithCancel(context.Background())
	go func() {
		defer close(h.stopped)
		h.keep(ctx, until)
	}()
}

func (h *held) keep(ctx context.Context, until time.Time) {
	tick := time.NewTicker(h.leases.ttl / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		ours, err := renew.Run(ctx, h.leases.redis, []string{h.key}, h.value, h.leases.ttl.Milliseconds()).Int()
		switch {
		case err == nil && ours == 1:
			until = asked.Add(h.leases.ttl)
		case err == nil || time.Now().After(until):
			close(h.lost)
			return
		}
	}
}

// Lost implements lease.Lease.
func (h *held) Lost() <-chan struct{} { return h.lost }

// Release implements lease.Lease.
func (h *held) Release() {
	h.once.Do(func() {
		h.stop()
		<-h.stopped // a renewal after the release would take it again
		// Where Redis does not answer, the lease ends by itself.
		_ = release.Run(context.Background(), h.leases.redis, []string{h.key}, h.value).Err()
		h.local.Release()
	})
}
