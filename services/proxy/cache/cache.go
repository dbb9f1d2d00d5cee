// Package cache is how a process asks upstreams, and what it keeps of what they
// said: manifests, tags and blobs in the stores, lists and absences in memory.
//
// A Repository is one repository of one upstream. What many ask of it at a time is
// asked of the upstream once.
package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/ttlcache"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// Config is what caches work on.
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

	// Replaced is called when another cache registry has taken the place of one that
	// was about to be written.
	Replaced func()
}

// Secrets opens sealed passwords; *seal.Keyring does.
type Secrets interface {
	// Open fails where sealed was sealed by another key, or for another place
	// than bound.
	Open(sealed []byte, bound string) (string, error)
}

// Meta is the part of meta.Store that caches need.
type Meta interface {
	meta.Cache

	FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error)
	FindBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error)
	RecordStatus(ctx context.Context, t tenant.ID, id tenant.UpstreamID, s meta.UpstreamStatus) error
}

// knownAbsences is how many a process remembers: a storm of made-up tags fills
// this and nothing else (contract row E14).
const knownAbsences = 65536

// Caches are those of all upstreams. There is one per process. It is safe for
// concurrent use.
type Caches struct {
	Config
	absent   *ttlcache.Cache[string, struct{}] // what upstreams do not have
	lists    *lists
	pulls    *pulls
	statuses *statuses
	answers  *answerMetrics
	flights  singleflight.Group // of manifests and lists, by what is asked of which upstream
}

// New makes Caches. Run does what they have to do beside answering.
func New(c Config) *Caches {
	return &Caches{
		Config:   c,
		absent:   ttlcache.New(ttlcache.Options[string, struct{}]{Size: knownAbsences, Now: c.Now}),
		lists:    newLists(),
		pulls:    newPulls(),
		statuses: newStatuses(),
		answers:  newAnswerMetrics(c.Metrics),
	}
}

// Repository is a repository of an upstream, with what is kept of it. It lives as
// long as a request.
type Repository struct {
	*meta.Upstream
	Repo meta.Repo // in the upstream's cache registry

	caches *Caches
	client *upstream.Client
	hops   int // registries that the request came through before
}

// Repository finds the way to a repository of an upstream, by its name there.
func (c *Caches) Repository(u *meta.Upstream, tenantSlug, name string, hops int) (*Repository, error) {
	config := upstream.Config{
		Key:    fmt.Sprintf("%d/%d", u.Tenant, u.ID),
		Tenant: tenantSlug, Upstream: u.Slug,
		URL: u.Settings.URL, Username: u.Settings.Username, AuthHosts: u.Settings.AuthHosts,
		TrustNotFound: u.Settings.TrustNotFound,
	}
	if len(u.Settings.Password) > 0 {
		password, err := c.Secrets.Open(u.Settings.Password, meta.PasswordOf(*u))
		if err != nil {
			return nil, chain.Internal(fault.Wrap(err, fault.Unavailable, fault.UnavailableReason,
				"the password of upstream %q cannot be opened with the secret_key of this deployment: give the password again, or set old_secret_key to the key before", u.Slug))
		}
		config.Password = password
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

// key names something of the repository, among all that this process and others
// may be fetching.
func (r *Repository) key(what string) string {
	return fmt.Sprintf("%d %s %s", r.Repo.Registry, r.Repo.Name, what)
}

// isAbsent says whether the upstream said a while ago that it does not have it.
func (r *Repository) isAbsent(what string) bool {
	_, ok := r.caches.absent.Find(r.key(what))
	return ok
}

// noteAbsence remembers it if err is the upstream's "not here".
func (r *Repository) noteAbsence(what string, err error) {
	if upstream.OutcomeOf(err) == upstream.NotHere {
		r.caches.absent.Put(r.key(what), struct{}{}, r.Settings.NegativeTTL)
	}
}

func (r *Repository) forgetAbsence(what string) { r.caches.absent.Drop(r.key(what)) }

// notStored says whether err is the store's "not found".
func notStored(err error) bool { return err != nil && fault.KindOf(err) == fault.NotFound }

// errUnknown is what a look into the cache returns where there is nothing to
// answer with.
var errUnknown = errors.New("cache: not known")

// maxHosts is how many hosts of upstreams have series of their own. Upstreams are
// tenants' resources, so their number has no bound: what comes later counts as
// "other", and no tenant is a label.
const maxHosts = 100

// How an upstream's cache answered.
const (
	Hit   = "hit"   // from what is kept, without asking the upstream
	Miss  = "miss"  // after asking the upstream
	Stale = "stale" // from what is kept, since the upstream did not answer
)

// answerMetrics count what upstreams' caches were asked for and had.
type answerMetrics struct {
	answers *prometheus.CounterVec

	mu    sync.Mutex
	hosts map[string]bool
}

func newAnswerMetrics(reg prometheus.Registerer) *answerMetrics {
	return &answerMetrics{hosts: map[string]bool{}, answers: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "berth_cache_answers_total",
		Help: "What was answered for upstreams, by the upstream's host: hit from the cache, miss after asking the upstream, or stale because it did not answer.",
	}, []string{"upstream", "content", "result"})}
}

// host is the label of the upstream at the URL.
func (m *answerMetrics) host(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.hosts[host] {
		if len(m.hosts) == maxHosts {
			return "other"
		}
		m.hosts[host] = true
	}
	return host
}

// CountAnswer counts how the cache of the upstream answered, Hit, Miss or Stale,
// unless that failed. It returns err.
func (r *Repository) CountAnswer(content, result string, err error) error {
	if err == nil {
		m := r.caches.answers
		m.answers.WithLabelValues(m.host(r.Settings.URL), content, result).Inc()
	}
	return err
}
