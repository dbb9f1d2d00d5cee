// Package assemble builds the services from their parts. It alone knows which
// implementation each part has and which services this process runs; no service
// asks.
package assemble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/backup"
	"github.com/berth-registry/berth/services/internal/audit"
	"github.com/berth-registry/berth/services/internal/cacheroom"
	"github.com/berth-registry/berth/services/internal/chains"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/keyuse"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/people"
	"github.com/berth-registry/berth/services/internal/policy"
	"github.com/berth-registry/berth/services/internal/pullrules"
	"github.com/berth-registry/berth/services/internal/pulls"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/internal/usage"
	"github.com/berth-registry/berth/services/janitor"
	"github.com/berth-registry/berth/services/proxy"
	"github.com/berth-registry/berth/services/proxy/fetch"
	"github.com/berth-registry/berth/services/token"
)

// Deployment is a process that is ready to run, with information for its
// operator.
type Deployment struct {
	*boot.Process
	First         bool   // nothing was kept in the data directory before
	OperatorToken string // the file that holds it; empty when it came from the configuration

	Default *DefaultRegistry // nil where the tenant default is not served
}

// New builds the services that the process runs on the parts that the
// configuration names: each of metadata, blobs and shared work is a server if
// there is a URL for it, else local. Running the process closes what was
// opened; so does a failure here. The configuration has passed its Check.
func New(ctx context.Context, c boot.Config, log *slog.Logger) (*Deployment, error) {
	p, err := boot.New(ctx, c, log)
	if err != nil {
		return nil, err
	}
	s, err := openStores(ctx, c, p.Tracing)
	if err != nil {
		return nil, err
	}
	p.OnDrain(s.meta.Quiesce)
	p.OnStop("stores", func(context.Context) error { return s.close() })
	d := &Deployment{Process: p}
	if err := d.build(ctx, c, s); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return d, nil
}

// builder holds what the ports of a process share.
type builder struct {
	*Deployment
	config      boot.Config
	stores      stores
	room        *cacheroom.Room // for cached content
	pattern     tenant.Pattern
	sites       *tenant.Directory
	policies    *access.Policies
	revoked     *access.Revocations
	topologies  *chains.Topologies // caches the chains of tenants
	shared      shared
	web         *web.Metrics
	pace        web.Pace
	pauses      *web.Pauses      // of all listeners
	around      []kit.Middleware // every operation
	refused     *audit.Refusals
	mirrors     *audit.Mirrors
	pulls       *audit.Pulls    // nil where no sink is told of pulls
	pullRules   *pullrules.Gate // decides about pulls
	trust       *policy.Trust   // of signatures by identities
	recorder    *pulls.Recorder // of hosted content; nil where none is pulled through this process
	uses        *keyuse.Uses
	usage       *usage.Counters // of what passes here; nil where no client comes
	passwords   *password.Hasher
	logins      *token.Authenticator
	directories *people.Directories // of people
	issuers     *people.Issuers
	toIssuers   *upstream.Clients // of tenants
	toOperators *upstream.Clients // to those of the operator
	dial        upstream.Dial     // for identity providers of tenants
	callGate    *front.CallLimit  // for calls of data and internal listeners
	rates       *front.Rates      // of tenants and their callers
	clients     *upstream.Clients // nil where neither the data port nor the admin API is
	secrets     *seal.Keyring     // nil where nothing is sealed or opened
	proxy       *proxy.Service    // nil where chains are neither followed nor told of
	fetches     *fetch.Fetches    // likewise
	calls       *access.Internal  // the one that signs, and knows which calls were taken
	tls         *boot.InternalTLS // nil where processes call each other without TLS
	backups     *backup.Keeper    // nil where the metadata is on a server
}

func (d *Deployment) build(ctx context.Context, c boot.Config, s stores) error {
	if err := s.durable(ctx); err != nil {
		return err
	}
	if err := s.establish(ctx, c, d.Log); err != nil {
		return err
	}
	if err := s.removeFetches(ctx); err != nil {
		return err
	}
	if err := keepForSink(ctx, c, s.meta); err != nil { // before the first event
		return err
	}
	d.Go("identity", func(ctx context.Context) error { s.keepRaising(ctx, d.Log); return nil })
	d.Metrics.MustRegister(s.metrics...)
	var err error
	var finder tenant.Finder = s.meta
	if c.Embedded() {
		if d.First, err = firstStart(ctx, c, s.meta); err != nil {
			return fmt.Errorf("set the first tenant up: %w", err)
		}
		if d.Default, err = (defaultSettler{c, s.meta, d.Log}).settle(ctx); err != nil {
			return fmt.Errorf("settle who may use the tenant default: %w", err)
		}
		finder = defaultSites{s.meta}
	} else if c.AnonymousPush || c.SeedDefault {
		d.Log.WarnContext(ctx, "seed_default and anonymous_push have no effect: they are about the tenant default, which only a deployment on one data directory has")
	}
	pattern, err := tenant.NewPattern(c.HostPattern, c.BaseDomain)
	if err != nil {
		return err
	}
	b := builder{
		Deployment: d, config: c, stores: s,
		room:       cacheroom.New(cacheroom.Config{Meta: s.meta, Blobs: s.blobs, Max: int64(c.CacheMax), Delay: lifetimes(c).Evicted, Log: d.Log}),
		pattern:    pattern,
		sites:      tenant.NewDirectory(finder, pattern),
		policies:   access.NewPolicies(meta.PolicyLoader{Store: s.meta}),
		revoked:    access.NewRevocations(s.meta.ListRevocations),
		topologies: chains.NewTopologies(s.meta),
		web:        web.NewMetrics(d.Metrics),
		pace:       web.Pace{Pause: c.TransferPause},
		pauses:     web.NewPauses(web.PauseLimits{Tenant: c.PausedTransfers, All: boot.MaxFiles() / 4}, d.Metrics),
		refused:    audit.New(s.meta, d.Log),
		mirrors:    audit.NewMirrors(s.meta, d.Log),
		uses:       keyuse.New(s.meta, d.Log),
		passwords:  password.New(password.DefaultCost),
		calls:      access.NewInternal(c.InternalKey.Reveal()),
		callGate:   front.NewCallLimit(callsPerConnection * d.Clients()),
		around:     []kit.Middleware{kit.Tracing(d.Tracing), kit.Metrics(d.Metrics)},
	}
	d.Conns.OnShort(b.relieve)
	d.Go("key uses", func(ctx context.Context) error { b.uses.Run(ctx); return nil })
	d.Go("refusals", func(ctx context.Context) error { b.refused.Run(ctx); return nil })
	b.directories = people.NewDirectories(s.meta, b.openDirectory)
	d.Go("mirror uses", func(ctx context.Context) error { b.mirrors.Run(ctx); return nil })
	if err := b.share(ctx); err != nil {
		return err
	}
	b.rates = front.NewRates(front.RateConfig{Deployment: rateLimits(c), Limits: b.shared.rates, Processes: b.shared.members, Metrics: d.Metrics})
	b.logins = token.NewAuthenticator(s.meta, b.passwords, b.shared.failures).WithRefusals(b.refused).WithUses(b.uses)
	if err := b.auditSink(); err != nil {
		return err
	}
	if err := b.openSecrets(ctx); err != nil {
		return err
	}
	if err := b.people(); err != nil {
		return err
	}
	if b.tls, err = b.InternalTLS(c); err != nil {
		return err
	}
	if c.RunsData() {
		b.recorder = pulls.NewRecorder(s.meta, d.Log)
		b.usage = usage.New(s.meta, d.Log)
		b.Go("usage", func(ctx context.Context) error { b.usage.Run(ctx); return nil })
	}
	if b.trust, err = openTrust(c, d.Log); err != nil {
		return err
	}
	b.pullRules = pullrules.New(pullrules.Config{
		Trust: b.trust, Meta: s.meta, Blobs: respond.Blobs{Store: s.blobs, Meta: s.meta, Log: d.Log, Verify: c.VerifyPulls}, Log: d.Log, Metrics: d.Metrics,
	})
	if err := b.chains(); err != nil {
		return err
	}
	d.Metrics.MustRegister(b.pools())
	if c.RunsData() {
		if err := b.data(ctx); err != nil {
			return err
		}
	}
	if err := b.keepBackups(); err != nil {
		return err
	}
	if c.Runs(boot.AdminService) {
		if err := b.admin(ctx); err != nil {
			return err
		}
	}
	if c.Runs(boot.JanitorService) {
		b.janitor()
	}
	if c.Runs(boot.ProxyService) {
		b.prefetch()
	}
	d.Health.Add("meta", s.meta.Ping)
	b.reportSpace()
	b.reportRoom()
	d.Health.Add("blobs", func(ctx context.Context) error { return blob.Ping(ctx, s.blobs) })
	d.Health.Add("identity", s.compare)
	return b.recordPulls(ctx)
}

// recordPulls begins to record pulls of hosted content, before the listeners begin.
func (b builder) recordPulls(ctx context.Context) error {
	if b.recorder == nil {
		return nil
	}
	b.Go("records of pulls", func(ctx context.Context) error { b.recorder.Run(ctx); return nil })
	return b.recorder.Begin(ctx)
}

// janitor builds what removes garbage, beside the ports.
func (b builder) janitor() {
	j := janitor.New(janitor.Config{
		Meta: b.stores.meta, Blobs: b.stores.blobs, Leases: b.shared.leases, Log: b.Log, Middlewares: b.around,
		Metrics: b.Metrics, Guard: b.stores.compare, Held: b.held, CondemnUnknown: b.config.CondemnUnknown,
		Content: policy.Stored{Meta: b.stores.meta, Blobs: respond.Blobs{Store: b.stores.blobs, Meta: b.stores.meta, Log: b.Log, Verify: b.config.VerifyPulls}},
		Room:    b.room, EvictedDelay: lifetimes(b.config).Evicted, RecordPulls: b.recordCached(),
	})
	b.Health.AddOptional(unknownCheck, func(context.Context) error { return j.Refusal() })
	b.Metrics.MustRegister(unknownObjects(j)...)
	b.Go("janitor", func(ctx context.Context) error { j.Run(ctx); return nil })
	b.scrub()
	b.retain()
	b.webhooks()
}

// recordCached is nil where nothing is pulled through this process.
func (b builder) recordCached() func(context.Context) {
	if b.proxy == nil {
		return nil
	}
	return b.proxy.RecordPulls
}

// callsPerConnection makes room for more calls than connections, so that silent
// clients over HTTP/1.1, one call on each connection, meet the bound of these first,
// which ends them; calls would wait.
const callsPerConnection = 2
