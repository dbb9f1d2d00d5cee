// Package proxy serves pulls of content that a registry does not hold: it asks the
// members of the registry's chain in order. It fetches content of an upstream once
// for all callers, verifies it, and caches it.
package proxy

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/chains"
	"github.com/berth-registry/berth/services/internal/pullrules"
	"github.com/berth-registry/berth/services/internal/pulls"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/proxy/cache"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// Config is what the service needs.
type Config struct {
	Meta      Meta
	Blobs     blob.Opener
	Upstreams *upstream.Clients
	Secrets   cache.Secrets
	Leases    lease.Leases
	Fetches   *fetch.Fetches
	Log       *slog.Logger
	Metrics   prometheus.Registerer // may be nil; takes the metrics of one Service only
	Now       func() time.Time      // the clock; nil: time.Now

	// Turnover is about how long the cache takes to store as many bytes as it may hold; nil = not known.
	Turnover func() time.Duration

	Topologies *chains.Topologies // the process's cache; nil: one of its own

	Verify bool // compare each stored blob with its digest while it is sent

	Pulls *pulls.Recorder // of manifests that members host; nil: none is recorded

	PullRules *pullrules.Gate // the process's; nil: one of its own
}

// Meta is the part of meta.Store that the service needs.
type Meta interface {
	cache.Meta
	chains.Finder

	FindNameClaim(ctx context.Context, r meta.Repo) (meta.NameClaim, error)
	ListTags(ctx context.Context, r meta.Repo, p meta.Page) ([]string, error)
	MarkSuspect(ctx context.Context, b meta.Blob) error
	meta.PullPolicyFinder
}

// Service has one method per operation. The rules of its endpoints check rights
// before.
type Service struct {
	meta       Meta
	blobs      respond.Blobs
	upstreams  *upstream.Clients
	topologies *chains.Topologies
	caches     *cache.Caches
	budget     *respond.ByteBudget
	pulls      *pulls.Recorder
	rules      *pullrules.Gate
}

// New makes the service. Run does its background work.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Topologies == nil {
		c.Topologies = chains.NewTopologies(c.Meta)
	}
	blobs := respond.Blobs{Store: c.Blobs, Meta: c.Meta, Log: c.Log, Verify: c.Verify}
	if c.PullRules == nil {
		c.PullRules = pullrules.New(pullrules.Config{Meta: c.Meta, Blobs: blobs, Log: c.Log, Now: c.Now})
	}
	return &Service{
		meta: c.Meta, blobs: blobs, upstreams: c.Upstreams, topologies: c.Topologies,
		caches: cache.New(cache.Config{
			Meta: c.Meta, Blobs: blobs, Upstreams: c.Upstreams, Secrets: c.Secrets, Leases: c.Leases, Fetches: c.Fetches,
			Log: c.Log, Metrics: c.Metrics, Now: c.Now, Turnover: c.Turnover, Replaced: c.Topologies.Clear,
		}),
		budget: respond.NewByteBudget(),
		pulls:  c.Pulls,
		rules:  c.PullRules,
	}
}

// Run records pulls and the status of upstreams until ctx ends.
func (s *Service) Run(ctx context.Context) { s.caches.Run(ctx) }

// RecordPulls writes at once what is known of pulls from caches.
func (s *Service) RecordPulls(ctx context.Context) { s.caches.RecordPulls(ctx) }

// Clear empties Config.Topologies.
func (s *Service) Clear() { s.topologies.Clear() }
