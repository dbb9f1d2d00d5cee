// Package pullrules decides by the pull rules of tenants whether a manifest is served. A
// tenant that never had a rule costs neither a statement nor memory. A pull that a verdict is
// known for costs a look into the memory of the process.
package pullrules

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/ttlcache"
	"github.com/berth-registry/berth/services/internal/policy"
	"github.com/berth-registry/berth/services/internal/respond"
)

// Config is what a Gate needs.
type Config struct {
	Meta    Meta
	Blobs   respond.Blobs
	Trust   *policy.Trust // of signatures by identities; nil: the operator has none
	Log     *slog.Logger
	Metrics prometheus.Registerer // may be nil; takes the metrics of one Gate only
	Now     func() time.Time      // the clock
}

// Meta is the part of meta.Store that a Gate reads.
type Meta interface {
	policy.StoredMeta
	meta.CachedAges
	meta.PullPolicyFinder
}

// How much a process remembers.
const (
	knownPolicies = 4096
	knownVerdicts = 65536
)

// How long a verdict is remembered. A change of the rules ends all of the tenant.
const (
	// goodLife is how long a deleted signature may count.
	goodLife = 5 * time.Minute
	// badLife is how long a new signature may not count. What an upstream says of signatures
	// is remembered by its settings besides: at most negative_ttl.
	badLife = 2 * time.Second
	// observedLife is badLife where nothing is refused.
	observedLife = time.Minute
)

// policyLife is how long the rules of a tenant are remembered. A change counts before, by the
// version that the site of a request has.
const policyLife = time.Minute

// How many verdicts are computed at a time, since each reads and verifies what a tenant has
// stored, also after the client has left.
const (
	turns        = 32 // of all tenants
	turnsOfOne   = 8
	waitingOfOne = 256 // pulls; what is more is answered with an outage
	scanTurns    = 4   // that one takes which reads results of scans, of up to scan.MaxResult
)

// maxLacking bounds what a remembered verdict says, in bytes.
const maxLacking = 512

// Gate decides. It is safe for concurrent use.
type Gate struct {
	Config
	policies *ttlcache.Cache[tenant.ID, meta.PullPolicy]
	verdicts *ttlcache.Cache[key, verdict]
	flights  singleflight.Group
	deciding *fairgate.Gate[tenant.ID]
	observed *fairgate.Gate[tenant.ID] // pulls that no client waits for; more are counted as unknown
	counts   *prometheus.CounterVec
}

// New makes a Gate.
func New(c Config) *Gate {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Trust == nil {
		c.Trust = policy.NewTrust(nil)
	}
	g := &Gate{
		Config: c,
		policies: ttlcache.New(ttlcache.Options[tenant.ID, meta.PullPolicy]{
			Size: knownPolicies, Now: c.Now, Load: c.Meta.PullPolicy, Life: policyLife,
		}),
		verdicts: ttlcache.New(ttlcache.Options[key, verdict]{Size: knownVerdicts, Now: c.Now}),
		deciding: fairgate.New[tenant.ID](fairgate.Options{Capacity: turns, Most: turnsOfOne, MaxWaiting: waitingOfOne}),
		observed: fairgate.New[tenant.ID](fairgate.Options{Capacity: turns, Most: turnsOfOne}),
		counts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_pull_rules_total",
			Help: "Pulls that pull rules were for, by the mode of the rule and its verdict: allowed, refused, or unknown because it could not be decided. Rules that observe refuse nothing.",
		}, []string{"mode", "verdict"}),
	}
	if c.Metrics != nil {
		c.Metrics.MustRegister(g.counts)
	}
	return g
}

// Pull is what a client asks for.
type Pull struct {
	Rules    int64     // tenant.Site.PullRules
	Repo     meta.Repo // in the registry that the client names, with the name in the path
	Registry string    // its slug
	Tag      string    // empty for a pull by digest
	// Hops is how many registries forwarded the request: one that a chain led back here must
	// not wait for itself (contract row E12).
	Hops int
}

// Answer is the manifest that a member answers with.
type Answer struct {
	Registry string    // slug of the member; empty for an upstream
	Repo     meta.Repo // that stores it
	Manifest meta.Manifest
	Upstream policy.Content // nil if it is hosted
}

// Check returns nil if the rules let the manifest be served, a denial that names the rules and
// what they ask if not, and an outage if that could not be decided.
func (g *Gate) Check(ctx context.Context, p Pull, a Answer) error {
	if p.Rules == 0 {
		return nil
	}
	found, err := g.policy(ctx, p)
	if err != nil {
		return err
	}
	p.Rules = found.Version // which the verdicts are of
	rules := found.Rules
	var refusals []chain.PullVerdict
	for i := range rules {
		r := &rules[i]
		if !selects(r, p, a) {
			continue
		}
		j := judgement{gate: g, rule: r, pull: p, answer: a}
		if !r.Enforced {
			g.observe(ctx, j)
			continue
		}
		v, err := g.judge(ctx, j)
		g.count(r, v, err)
		switch {
		case fault.Is(err, fault.Busy):
			return err
		case err != nil:
			return fault.Wrap(err, fault.Unavailable, fault.UnavailableReason,
				"pull rule %q cannot be decided, since what accompanies manifest %s cannot be read; try again later", r.Slug, a.Manifest.Digest)
		case v.lacking != "":
			refusals = append(refusals, chain.PullVerdict{Rule: r.Slug, Lacking: v.lacking})
		}
	}
	if len(refusals) == 0 {
		return nil
	}
	return denied(a.Manifest.Digest, refusals)
}

func denied(d oci.Digest, refusals []chain.PullVerdict) error {
	var slugs, why []string
	for _, v := range refusals {
		slugs = append(slugs, v.Rule)
		why = append(why, fmt.Sprintf("pull rule %q: %s", v.Rule, v.Lacking))
	}
	return fault.New(fault.Denied, fault.DeniedReason, "manifest %s may not be pulled; %s", d, fault.Clip(strings.Join(why, "; "))).
		WithDetail(map[string]any{"reason": "PULL_RULE", "pull_rules": slugs, "digest": d.String()})
}

// selects reports whether the rule is for the pull: by the registry that the client names or
// the member that answers, and by any name that the repository has there. So no way to ask for
// an image is one around the rule.
func selects(r *meta.PullRule, p Pull, a Answer) bool {
	for _, registry := range []string{p.Registry, a.Registry} {
		for _, name := range []string{p.Repo.Name, nameBelow(p.Repo.Name), a.Repo.Name} {
			if r.Selects(registry, name, p.Tag) {
				return true
			}
		}
	}
	return false
}

// nameBelow is the part of a name that an upstream is asked for: of proxy/ghcr.io/app, app.
// Such a name may also stand for a path without it and the query ns.
func nameBelow(name string) string {
	if below, ok := strings.CutPrefix(name, "proxy/"); ok {
		if _, rest, ok := strings.Cut(below, "/"); ok {
			return rest
		}
	}
	return name
}

// reloads is how often a policy is loaded again that is older than its site says.
const reloads = 2

// policy returns the rules of the tenant, at least as new as its site.
func (g *Gate) policy(ctx context.Context, p Pull) (meta.PullPolicy, error) {
	found, err := g.policies.Get(ctx, p.Repo.Tenant)
	for range reloads { // the first may join a load that began before the change
		if err != nil || found.Version >= p.Rules {
			break
		}
		g.policies.Drop(p.Repo.Tenant)
		found, err = g.policies.Get(ctx, p.Repo.Tenant)
	}
	if err != nil {
		return found, fault.Wrap(err, fault.Unavailable, fault.UnavailableReason, "the pull rules of the tenant cannot be read; try again later")
	}
	if found.Version < p.Rules {
		return found, fault.New(fault.Unavailable, fault.UnavailableReason, "the pull rules of the tenant were changed; try again later")
	}
	return found, nil
}

// Explain returns what each rule that is for the pull says now.
func (g *Gate) Explain(ctx context.Context, p Pull, a Answer) ([]chain.PullVerdict, error) {
	found, err := g.Meta.PullPolicy(ctx, p.Repo.Tenant)
	if err != nil {
		return nil, err
	}
	var said []chain.PullVerdict
	for i := range found.Rules {
		r := &found.Rules[i]
		if !selects(r, p, a) {
			continue
		}
		v, err := judgement{gate: g, rule: r, pull: p, answer: a}.decideInTurn(ctx)
		one := chain.PullVerdict{Rule: r.Slug, Enforced: r.Enforced, Lacking: v.lacking}
		if err != nil {
			one.Unknown, one.Lacking = true, "it cannot be decided: "+fault.From(err).Message
		}
		said = append(said, one)
	}
	return said, nil
}

func (g *Gate) count(r *meta.PullRule, v verdict, err error) {
	mode, said := "observe", "allowed"
	if r.Enforced {
		mode = "enforce"
	}
	switch {
	case err != nil:
		said = "unknown"
	case v.lacking != "":
		said = "refused"
	}
	g.counts.WithLabelValues(mode, said).Inc()
}
