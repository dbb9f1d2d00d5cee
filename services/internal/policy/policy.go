// Package policy decides which manifests of an upstream are served. Each one passes
// Checker.Check before a client gets it, by tag or digest, from the upstream or its
// cache, and before a push adopts it. A new rule about content belongs here.
package policy

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/respond"
)

// Checker decides by the settings of upstreams.
type Checker struct {
	Seen     meta.CachedAges
	Now      func() time.Time
	Verdicts *Verdicts
	Stored   Stored
	Upstream Content // what is cached, else the upstream's; nil: the upstream is not asked

	// Once calls f once for all concurrent callers with the same work, within a time limit
	// and without the request that it began with.
	Once func(ctx context.Context, work string, f func(ctx context.Context) error) error
	// Pulled records that a cached manifest was needed for a pull; it may be nil.
	Pulled func(d oci.Digest)
}

// NewStored is a Checker that asks no upstream.
func NewStored(m interface {
	StoredMeta
	meta.CachedAges
}, blobs respond.Blobs, now func() time.Time,
) Checker {
	return Checker{
		Seen: m, Now: now, Verdicts: NewVerdicts(now), Stored: Stored{Meta: m, Blobs: blobs},
		Once: func(ctx context.Context, _ string, f func(ctx context.Context) error) error { return f(ctx) },
	}
}

// Check returns nil if the upstream's rules let the manifest of its cache be served, a
// denial that names the rule and its setting if not (chain.ErrRule), and any other error
// if that could not be decided.
func (c Checker) Check(ctx context.Context, u *meta.Upstream, r meta.Repo, m meta.Manifest) error {
	s := &u.Settings
	if !s.HasRules() {
		return nil
	}
	rules := signatureRules(s, r.Name)
	signed := len(rules) == 0 || c.isKnownSigned(r, m.Digest, rules)
	aboutImages := len(s.Platforms)+len(s.DeniedPlatforms)+len(s.Licenses) > 0
	if signed && !aboutImages && s.MinAge == 0 {
		return nil
	}
	left, approved, err := c.age(ctx, u, r, m.Digest)
	switch {
	case err != nil, approved:
		return err
	case left > 0:
		return denied(u, "min_age", m.Digest, "it is served from %s on, %s after it was seen first; an administrator can add it to approved_digests",
			c.Now().Add(left).UTC().Format(time.RFC3339), s.MinAge)
	}
	if !signed {
		if err := c.checkSigned(ctx, u, r, m, rules); err != nil {
			return err
		}
	}
	if !aboutImages {
		return nil
	}
	return c.checkContent(ctx, u, r, m)
}

// Young reports whether the manifest may not be served yet because of min_age.
func (c Checker) Young(ctx context.Context, u *meta.Upstream, r meta.Repo, d oci.Digest) (bool, error) {
	left, approved, err := c.age(ctx, u, r, d)
	return left > 0 && !approved, err
}

// age is the time until min_age has passed, and whether the digest is approved. What
// holds for an index holds for the manifests in it. A manifest that is not stored has just
// been seen.
func (c Checker) age(ctx context.Context, u *meta.Upstream, r meta.Repo, d oci.Digest) (time.Duration, bool, error) {
	s := &u.Settings
	if slices.Contains(s.ApprovedDigests, d) {
		return 0, true, nil
	}
	if s.MinAge == 0 && len(s.ApprovedDigests) == 0 {
		return 0, false, nil
	}
	line, err := c.Seen.Lineage(ctx, r, d)
	if err != nil {
		return 0, false, chain.Internal(err)
	}
	since := c.Now()
	if len(line) > 0 {
		since = line[0].At
	}
	approved := slices.ContainsFunc(line, func(one meta.Seen) bool { return slices.Contains(s.ApprovedDigests, one.Digest) })
	return since.Add(s.MinAge).Sub(c.Now()), approved, nil
}

// denied is the refusal of a manifest by a rule. The detail is for programs.
func denied(u *meta.Upstream, setting string, d oci.Digest, format string, args ...any) error {
	f := fault.New(fault.Denied, fault.DeniedReason, "the setting %s of upstream %q does not allow manifest %s: "+format,
		append([]any{setting, u.Slug, d}, args...)...)
	return chain.RuleError{Fault: f.WithDetail(map[string]string{
		"reason": "RULE", "upstream": u.Slug, "setting": strings.Split(setting, " ")[0], "digest": d.String(),
	})}
}
