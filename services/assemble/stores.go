package assemble

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/pgmeta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/janitor"
)

// stores are where a deployment keeps everything: servers, or one directory
// that no other process may have open.
type stores struct {
	meta  meta.Store
	blobs blobStore

	// What a server is asked besides, by a process that serves from it.
	metrics []prometheus.Collector
	durable func(context.Context) error // fails where an acknowledged push may be lost
}

type blobStore interface {
	blob.Store
	blob.Identified
	io.Closer
}

// openStores opens the stores to serve from them. Where one half of a deployment
// is missing, the other is not made beside it.
func openStores(ctx context.Context, c boot.Config, traces trace.TracerProvider) (stores, error) {
	if err := refuseBackup(c); err != nil {
		return stores{}, err
	}
	if err := refuseStoreAlone(ctx, c); err != nil {
		return stores{}, err
	}
	times := newTimings()
	s, err := openMeta(ctx, c, traces, times, false)
	if err != nil {
		return stores{}, err
	}
	s.metrics = append(s.metrics, times.collectors()...)
	if err := s.refuseDatabaseAlone(ctx, c); err != nil {
		return stores{}, errors.Join(err, s.meta.Close())
	}
	if s.blobs, err = openBlobs(ctx, c, times, false); err != nil {
		return stores{}, errors.Join(err, s.meta.Close())
	}
	return s, nil
}

// openExisting opens the stores as they are, to read from them: nothing is made,
// migrated or changed.
func openExisting(ctx context.Context, c boot.Config) (stores, error) {
	times := newTimings()
	s, err := openMeta(ctx, c, nil, times, true)
	if err != nil {
		return stores{}, err
	}
	if s.blobs, err = openBlobs(ctx, c, times, true); err != nil {
		return stores{}, errors.Join(err, s.meta.Close())
	}
	return s, nil
}

// openMeta returns stores without blobs.
func openMeta(ctx context.Context, c boot.Config, traces trace.TracerProvider, times timings, existing bool) (stores, error) {
	if c.Meta.IsZero() {
		m, err := sqlitemeta.Open(ctx, sqlitemeta.Options{Dir: c.DataDir, Lifetimes: lifetimes(c), MaxStaged: int64(c.MaxStagedBytes), Limits: limits(c), ReadOnly: existing, Observe: times.observeMeta})
		if err != nil {
			return stores{}, err
		}
		return stores{meta: m, durable: func(context.Context) error { return nil }, metrics: []prometheus.Collector{queue("meta_writer", m.Waiting)}}, nil
	}
	m, err := pgmeta.Open(ctx, pgmeta.Options{URL: c.Meta.Reveal(), Lifetimes: lifetimes(c), MaxStaged: int64(c.MaxStagedBytes), Limits: limits(c), Traces: traces, ReadOnly: existing, Observe: times.observeMeta})
	if err != nil {
		return stores{}, err
	}
	return stores{meta: m, durable: m.CheckDurable, metrics: []prometheus.Collector{m.Collector(), queue("meta_connections", m.Waiting)}}, nil
}

func openBlobs(ctx context.Context, c boot.Config, times timings, existing bool) (blobStore, error) {
	if c.Blobs.IsZero() {
		return fsblob.Open(blobDir(c), fsblob.Options{Existing: existing, MinFree: int64(c.MinFree)})
	}
	return s3blob.Open(ctx, c.Blobs.Reveal(), s3blob.Options{ReadOnly: existing, Observe: times.observeS3})
}

// blobDir is the directory of blobs that are files.
func blobDir(c boot.Config) string { return filepath.Join(c.DataDir, "blobs") }

func (s stores) close() error { return errors.Join(s.blobs.Close(), s.meta.Close()) }

// What a redirect to the blob store leads to outlives it.
const _ = uint64(boot.MinDeleteDelay - blob.MaxPresignLife - 1)

// evictedFile is meta.Lifetimes.Evicted of files: redirects do not lead to them, and one
// that is being read is not deleted.
const evictedFile = 250 * time.Millisecond

func lifetimes(c boot.Config) meta.Lifetimes {
	l := meta.DefaultLifetimes
	l.UploadTTL = c.UploadTTL
	l.Grace = c.Grace
	l.DeleteDelay = c.DeleteDelay
	if c.Blobs.IsZero() {
		l.Evicted = evictedFile
	}
	l.Quarantine = c.NameQuarantine
	l.Undelete = c.UndeleteWindow
	l.TagHistory = c.TagHistory
	l.Events = c.EventAge
	return l
}

func limits(c boot.Config) meta.Limits {
	return meta.Limits{
		Registries: c.MaxRegistries, Accounts: c.MaxAccounts, Users: c.MaxUsers, AccountKeys: c.MaxAccountKeys, AccessRules: c.MaxAccessRules, TagRules: c.MaxTagRules, PromotionGates: c.MaxPromotionGates, PullRules: c.MaxPullRules, Webhooks: c.MaxWebhooks, RetentionPolicies: c.MaxRetentionPolicies, Prefetches: c.MaxPrefetches,
		PrincipalGroups: c.MaxPrincipalGroups,
		Providers:       c.MaxIdentityProviders,
		Domains:         c.MaxDomains, Upstreams: c.MaxUpstreams, Groups: c.MaxGroups, MirrorHosts: c.MaxMirrorHosts, Events: c.MaxEvents,
	}
}

// rateLimits are those of tenants that have none of their own.
func rateLimits(c boot.Config) tenant.RateLimits {
	return tenant.RateLimits{
		Tenant: tenant.RateLimit{Requests: int64(c.TenantRequests), Egress: int64(c.TenantEgress), Uploads: int64(c.TenantUploads)},
		Caller: tenant.RateLimit{Requests: int64(c.CallerRequests), Egress: int64(c.CallerEgress), Uploads: int64(c.CallerUploads)},
	}
}

// Check examines everything the deployment keeps and reports each broken
// invariant. Servers may be in use meanwhile; a data directory must not. It
// changes nothing, and refuses stores that do not belong together.
func Check(ctx context.Context, c boot.Config, deep bool, progress func(objects int64), report func(meta.Finding)) (janitor.Summary, error) {
	s, err := openExisting(ctx, c)
	if err != nil {
		return janitor.Summary{}, err
	}
	if err := s.compareToCheck(ctx, c); err != nil {
		return janitor.Summary{}, errors.Join(err, s.close())
	}
	sum, err := janitor.Check{Meta: s.meta, Blobs: s.blobs, Deep: deep, Progress: progress}.Run(ctx, report)
	return sum, errors.Join(err, s.close())
}

// Migrate brings the schema of the deployment's database forward.
func Migrate(ctx context.Context, c boot.Config) error {
	return pgmeta.Migrate(ctx, c.Meta.Reveal())
}
