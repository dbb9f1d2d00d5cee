// Package cache fetches from upstreams and caches the results: manifests, tags and
// blobs in the stores, lists and absences in memory.
//
// A Repository is one repository of one upstream. Concurrent requests for the same
// content share one request to the upstream.
package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/ttlcache"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/policy"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// Config is what caches need.
type Config struct {
	Meta      Meta
	Blobs     respond.Blobs
	Upstreams *upstream.Clients
	Secrets   Secrets
	Leases    lease.Leases
	Fetches   *fetch.Fetches
	Log       *slog.Logger
	Metrics   prometheus.Registerer // may be nil; takes the metrics of one Caches only
	Now       func() time.Time      // the clock

	// Turnover is about how long the cache takes to store as many bytes as it may hold; nil = not known.
	Turnover func() time.Duration
	// Replaced is called when a write finds its cache registry replaced by another.
	Replaced func()
}

// Secrets opens sealed passwords; *seal.Keyring does.
type Secrets interface {
	// Open fails if sealed was sealed by another key, or bound to another name.
	Open(sealed []byte, bound string) (string, error)
}

// Meta is the part of meta.Store that caches need.
type Meta interface {
	meta.Cache

	FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error)
	FindBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error)
	ListReferrers(ctx context.Context, r meta.Repo, subject oci.Digest, artifactType string, p meta.Page) ([]meta.Referrer, error)
	RecordStatus(ctx context.Context, t tenant.ID, id tenant.UpstreamID, s meta.UpstreamStatus) error
}

// knownAbsences is how many absences a process remembers, so that requests for
// random tags use bounded memory (contract row E14).
const knownAbsences = 65536

// Caches has the caches of all upstreams. There is one per process. It is safe for
// concurrent use.
type Caches struct {
	Config
	absent   *ttlcache.Cache[string, struct{}] // what upstreams do not have
	proved   *ttlcache.Cache[string, struct{}] // names, see proof.go
	lists    *lists
	pulls    *gatheredPulls
	statuses *statuses
	answers  *answerMetrics
	verdicts *policy.Verdicts
	flights  singleflight.Group // of manifests and lists, by upstream and request
}

// New makes Caches. Run does their background work.
func New(c Config) *Caches {
	return &Caches{
		Config:   c,
		absent:   ttlcache.New(ttlcache.Options[string, struct{}]{Size: knownAbsences, Now: c.Now}),
		proved:   ttlcache.New(ttlcache.Options[string, struct{}]{Size: knownProofs, Now: c.Now}),
		lists:    newLists(),
		pulls:    newPulls(),
		statuses: newStatuses(),
		answers:  newAnswerMetrics(c.Metrics),
		verdicts: policy.NewVerdicts(c.Now),
	}
}

// Repository is a repository of an upstream, with its cache. It is made for one
// request.
type Repository struct {
	*meta.Upstream
	Repo meta.Repo // in the upstream's cache registry
	// CacheOnly says that the upstream is not asked: the caller may not fill the cache.
	CacheOnly bool
	// Offline says that the upstream is not asked for evidence either, as by a mirror host
	// with cached_only. CacheOnly is then set, too.
	Offline bool

	caches *Caches
	client *upstream.Client
	hops   int // how many registries forwarded the request
}

// Repository returns a repository of an upstream, by its name there.
func (c *Caches) Repository(u *meta.Upstream, tenantSlug, name string, hops int) (*Repository, error) {
	config, err := c.configOf(*u, tenantSlug)
	if err != nil {
		return nil, err
	}
	if name := u.Settings.CredentialHelper; name != "" {
		helper, err := c.Upstreams.Helper(name, tenantSlug, u.Settings.URL)
		if err != nil {
			return nil, chain.Internal(fault.Wrap(err, fault.Unavailable, fault.UnavailableReason,
				"the credential helper %q of upstream %q cannot be used: its operator must declare it for this tenant and host", name, u.Slug))
		}
		config.Helper = helper
	}
	client, err := c.Upstreams.Client(config)
	if err != nil {
		return nil, chain.Internal(fault.Wrap(err, fault.Unavailable, fault.UnavailableReason, "upstream %q has an invalid configuration", u.Slug))
	}
	return &Repository{
		Upstream: u, Repo: meta.Repo{Tenant: u.Tenant, Registry: u.Cache, Name: name},
		caches: c, client: client, hops: hops,
	}, nil
}

// asked notes that the upstream was asked, so that its status is recorded.
func (r *Repository) asked() {
	s := r.caches.statuses
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[upstreamKey{r.Tenant, r.ID}] = r.client
}

// key is the unique name of a fetch from the repository, in all processes.
func (r *Repository) key(what string) string {
	return fmt.Sprintf("%d %s %s", r.Repo.Registry, r.Repo.Name, what)
}

func tagKey(tag string) string               { return "tag " + tag }
func manifestKey(d oci.Digest) string        { return "manifest " + d.String() }
func blobKey(d oci.Digest) string            { return "blob " + d.String() }
func referrersKey(subject oci.Digest) string { return "referrers " + subject.String() }

// statKey is not blobKey: a GET does not believe the 404 of a HEAD (E16).
func statKey(d oci.Digest) string { return "stat blob " + d.String() }

// isAbsent reports whether the upstream recently answered "not here" for it.
func (r *Repository) isAbsent(what string) bool {
	_, ok := r.caches.absent.Find(r.key(what))
	return ok
}

// noteAbsence remembers the absence if err is the upstream's "not here".
func (r *Repository) noteAbsence(what string, err error) {
	if upstream.OutcomeOf(err) == upstream.NotHere {
		r.caches.absent.Put(r.key(what), struct{}{}, r.Settings.NegativeTTL)
	}
}

func (r *Repository) forgetAbsence(what string) { r.caches.absent.Drop(r.key(what)) }

// notStored reports whether err is the store's "not found".
func notStored(err error) bool { return err != nil && fault.KindOf(err) == fault.NotFound }

// errUnknown is the error of a cache miss.
var errUnknown = errors.New("cache: not known")
