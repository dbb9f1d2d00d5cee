package policy

import (
	"context"
	"fmt"
	"slices"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// signatureRules are the rules about signatures for a repository. Each must be met.
func signatureRules(s *meta.UpstreamSettings, name string) []meta.SignatureRule {
	var rules []meta.SignatureRule
	for _, rule := range s.Signatures {
		if len(rule.Repositories) == 0 || oci.MatchesAny(rule.Repositories, name) {
			rules = append(rules, rule)
		}
	}
	return rules
}

// isKnownSigned reports whether it is remembered that the manifest meets the rules. Its
// signatures then count as pulled, too, so that the cache keeps them as long.
func (c Checker) isKnownSigned(r meta.Repo, d oci.Digest, rules []meta.SignatureRule) bool {
	v, ok := c.Verdicts.known.Find(keyOf(r, d))
	if !ok || !v.serves(rules) {
		return false
	}
	if c.Pulled != nil {
		for _, d := range v.by {
			c.Pulled(d)
		}
	}
	return true
}

// checkSigned refuses a manifest that does not meet the rules by signatures of its own or of
// an index that lists it. First it looks at what is cached: so a cached image is served
// while its upstream is out.
func (c Checker) checkSigned(ctx context.Context, u *meta.Upstream, r meta.Repo, m meta.Manifest, rules []meta.SignatureRule) error {
	if v, ok := c.Verdicts.known.Find(keyOf(r, m.Digest)); ok && v.refusal != nil && v.version == u.Version {
		return v.refusal
	}
	return c.Once(ctx, fmt.Sprintf("signatures %s %d", m.Digest, u.Version), func(ctx context.Context) error {
		if c.isKnownSigned(r, m.Digest, rules) {
			return nil
		}
		return c.verify(ctx, u, r, m, rules)
	})
}

func (c Checker) verify(ctx context.Context, u *meta.Upstream, r meta.Repo, m meta.Manifest, rules []meta.SignatureRule) error {
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	if err != nil {
		return chain.Internal(err) // it was parsed before it was stored
	}
	if evidence, err := c.isEvidence(ctx, r, m.Digest, parsed); err != nil || evidence {
		return err
	}
	line, err := c.line(ctx, r, m)
	if err != nil {
		return err
	}
	s := newSearch(r, m, rules, c.Stored)
	v, err := c.verifyLine(ctx, s, line)
	if !v.meets(rules) && c.Upstream != nil {
		s = newSearch(r, m, rules, c.Upstream)
		v, err = c.verifyLine(ctx, s, line)
	}
	switch {
	case v.meets(rules):
		c.Verdicts.remember(r, m.Digest, v, parsed.Children)
		return nil
	case err != nil:
		return err
	}
	err = denied(u, "signatures", m.Digest, "%s; an administrator can add it to approved_digests", s.explain())
	c.Verdicts.known.Put(keyOf(r, m.Digest), verdict{refusal: err, version: u.Version}, u.Settings.NegativeTTL)
	return err
}

// maxLine bounds the indexes whose signatures count for a manifest in them.
const maxLine = 16

// line is a manifest and the indexes of the cache that list it, the youngest first.
func (c Checker) line(ctx context.Context, r meta.Repo, m meta.Manifest) ([]oci.Digest, error) {
	seen, err := c.Seen.Lineage(ctx, r, m.Digest)
	if err != nil {
		return nil, chain.Internal(err)
	}
	line := []oci.Digest{m.Digest}
	for _, one := range slices.Backward(seen) {
		if one.Digest != m.Digest && len(line) <= maxLine {
			line = append(line, one.Digest)
		}
	}
	return line, nil
}

// verifyLine returns the verdict of the first of the manifests that meets the rules. If none
// does, the error is of one that could not be looked up.
func (c Checker) verifyLine(ctx context.Context, s *search, line []oci.Digest) (verdict, error) {
	var failure error
	for i, d := range line {
		v, known := c.Verdicts.known.Find(keyOf(s.repo, d))
		if !known || !v.meets(s.rules) {
			var err error
			if v, err = s.verify(ctx, d); err != nil && failure == nil {
				failure = err
			}
		}
		if v.meets(s.rules) {
			if i > 0 {
				v.by = append(slices.Clone(v.by), d)
			}
			return v, nil
		}
	}
	return verdict{}, failure
}
