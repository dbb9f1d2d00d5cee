// Package proxy answers pulls for what a registry does not hold: it asks the
// members of the registry's chain in order, fetches what an upstream has once
// for all who want it, verifies it, and keeps it.
package proxy

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/chains"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// Config is what the service works on.
type Config struct {
	Meta      Meta
	Blobs     blob.Opener
	Upstreams *upstream.Clients
	Secrets   Secrets
	Leases    lease.Leases
	Fetches   *fetch.Fetches
	Log       *slog.Logger
	Metrics   prometheus.Registerer // may be nil; takes the metrics of one Service only
	Now       func() time.Time      // the clock; nil: time.Now

	Topologies *chains.Topologies // what the process remembers; nil: a memory of its own
}

// Secrets opens sealed passwords; *seal.Keyring does.
type Secrets interface {
	// Open fails where sealed was sealed by another key, or for another place
	// than bound.
	Open(sealed []byte, bound string) (string, error)
}

// Meta is the part of meta.Store that the service needs.
type Meta interface {
	meta.Cache

	FindNameClaim(ctx context.Context, r meta.Repo) (meta.NameClaim, error)
	FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error)
	ListReferrers(ctx context.Context, r meta.Repo, subject oci.Digest, artifactType string, p meta.Page) ([]meta.Referrer, error)
	ListTags(ctx context.Context, r meta.Repo, p meta.Page) ([]string, error)
	FindBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error)
	MarkSuspect(ctx context.Context, b meta.Blob) error
	chains.Finder
	RecordStatus(ctx context.Context, t tenant.ID, id tenant.UpstreamID, s meta.UpstreamStatus) error
}

// Service has one method per operation. Rights are decided before, by the rules
// of NewHandler.
type Service struct {
	meta       Meta
	blobs      respond.Blobs
	clients    *upstream.Clients
	secrets    Secrets
	leases     lease.Leases
	fetches    *fetch.Fetches
	log        *slog.Logger
	now        func() time.Time
	topologies *chains.Topologies
	absent     *absences
	lists      *lists
	pulls      *pulls
	statuses   *statuses
	transit    *respond.ByteBudget
	cache      *cacheMetrics
	flights    *singleflight.Group // of manifests and lists, by what is asked of whom
}

// New makes the service. Run does what it has to do beside answering.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Topologies == nil {
		c.Topologies = chains.NewTopologies(c.Meta)
	}
	return &Service{
		meta: c.Meta, clients: c.Upstreams, secrets: c.Secrets, leases: c.Leases, fetches: c.Fetches, log: c.Log,
		blobs:      respond.Blobs{Store: c.Blobs, Meta: c.Meta, Log: c.Log},
		now:        c.Now,
		topologies: c.Topologies,
		absent:     newAbsences(),
		lists:      newLists(),
		pulls:      newPulls(),
		statuses:   newStatuses(),
		transit:    respond.NewByteBudget(),
		cache:      newCacheMetrics(c.Metrics),
		flights:    &singleflight.Group{},
	}
}

// flushEvery is how long pulls and statuses are gathered before they are
// written.
const flushEvery = 10 * time.Second

// Run writes down what was pulled, and how upstreams do, until ctx ends; then
// what is left.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushEvery)
			defer cancel()
			s.flush(last)
			return
		}
	}
}

func (s *Service) flush(ctx context.Context) {
	if err := s.pulls.flush(ctx, s.meta); err != nil {
		s.log.WarnContext(ctx, "pulls of cached content were not recorded; it may be removed earlier than it should", "error", err)
	}
	if err := s.statuses.flush(ctx, s.meta); err != nil {
		s.log.WarnContext(ctx, "the status of upstreams was not recorded", "error", err)
	}
}

// Clear forgets what is remembered of tenants' chains, by all who share
// Config.Topologies.
func (s *Service) Clear() { s.topologies.Clear() }
