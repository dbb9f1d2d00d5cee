package assemble

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-registry/berth/pkg/boot/redisconn"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/lease/redislease"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/limit/redislimit"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/tenant/redischanges"
	"github.com/berth-registry/berth/services/token"
)

// shared saves the processes of a deployment work. No response depends on
// it.
type shared struct {
	failures limit.Failures
	leases   lease.Leases
	changes  tenant.Changes
	rates    *limit.Rates
	members  func() int64 // processes that share rates
}

// share is for a process alone, unless there is a Redis.
func (b *builder) share(ctx context.Context) error {
	if b.config.Redis.IsZero() {
		b.shared = shared{
			failures: limit.NewLocal(token.MaxFailures, token.FailurePeriod),
			leases:   lease.NewMemory(),
			changes:  noopChanges{},
			rates:    limit.NewRates(),
			members:  func() int64 { return 1 },
		}
		return nil
	}
	client, err := b.redis(ctx, redisconn.Options{Log: b.Log})
	if err != nil {
		return err
	}
	forLeases, err := b.redis(ctx, redisconn.Options{Log: b.Log.With("for", "leases"), Timeout: leaseTimeout})
	if err != nil {
		return err
	}
	changes := redischanges.New(client, b.Log, b.clearCaches)
	b.Go("changes of hosts", func(ctx context.Context) error { changes.Run(ctx); return nil })
	rates := limit.NewRates()
	exchange := redislimit.NewExchange(client, rates, b.Log)
	b.Go("rate limits", func(ctx context.Context) error { exchange.Run(ctx); return nil })
	b.Health.AddOptional("redis", func(ctx context.Context) error { return redisconn.Ping(ctx, client) })
	b.shared = shared{
		failures: redislimit.New(client, token.MaxFailures, token.FailurePeriod),
		leases:   redislease.New(redislease.Options{Redis: forLeases, Secret: b.config.InternalKey.Reveal()}),
		changes:  changes,
		rates:    rates,
		members:  exchange.Members,
	}
	return nil
}

// leaseTimeout is how long Redis may take to grant a lease. The work that a lease saves,
// such as the fetch of a blob, takes longer. On a node that is overloaded because many
// clients want the same blob, Redis must not be taken for down.
const leaseTimeout = 2 * time.Second

func (b *builder) redis(ctx context.Context, o redisconn.Options) (*redis.Client, error) {
	o.URL = b.config.Redis.Reveal()
	client, err := redisconn.Open(ctx, o)
	if err == nil {
		b.OnStop("redis", func(context.Context) error { return client.Close() })
	}
	return client, err
}

// clearCaches clears what this process caches of what the admin API can change, and has it
// read which tokens were revoked.
func (b *builder) clearCaches() {
	b.revoked.Wake()
	b.sites.Clear()
	b.directories.Clear()
	b.topologies.Clear()
}

// noopChanges is tenant.Changes where no other process listens.
type noopChanges struct{}

func (noopChanges) Announce(context.Context) {}
