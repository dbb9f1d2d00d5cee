// Package policy decides which manifests of an upstream are served. Each one passes
// Checker.Check before a client gets it, by tag or digest, from the upstream or its
// cache, and before a push adopts it. A new rule about content belongs here.
package policy

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/github/go-spdx/v2/spdxexp"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// Checker decides by the settings of upstreams.
type Checker struct {
	Seen meta.CachedAges
	Now  func() time.Time
	// Config returns the bytes of a manifest's config. It is called if a rule needs it.
	Config func(ctx context.Context, r meta.Repo, config oci.Descriptor) ([]byte, error)
}

// MaxConfig is the maximum size of a config that a rule reads, in bytes.
const MaxConfig = 4 << 20

// Check returns nil if the upstream's rules let the manifest of its cache be served, a
// denial that names the rule and its setting if not (chain.ErrRule), and any other error
// if that could not be decided.
func (c Checker) Check(ctx context.Context, u *meta.Upstream, r meta.Repo, m meta.Manifest) error {
	s := &u.Settings
	if !s.HasRules() {
		return nil
	}
	left, approved, err := c.age(ctx, u, r, m.Digest)
	switch {
	case err != nil, approved:
		return err
	case left > 0:
		return denied(u, "min_age", m.Digest, "it is served from %s on, %s after it was seen first; an administrator can add it to approved_digests",
			c.Now().Add(left).UTC().Format(time.RFC3339), s.MinAge)
	case len(s.Platforms)+len(s.DeniedPlatforms)+len(s.Licenses) == 0:
		return nil
	}
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	switch {
	case err != nil:
		return chain.Internal(err) // it was parsed before it was stored
	case parsed.Config == nil:
		return checkIndex(u, m)
	case !isImage(parsed.Config.MediaType):
		return nil // an artifact has neither a platform nor a license
	default:
		return c.checkImage(ctx, u, r, m.Digest, parsed)
	}
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

// checkIndex refuses an index without a manifest of an allowed platform. Its manifests are
// checked one by one when they are pulled.
func checkIndex(u *meta.Upstream, m meta.Manifest) error {
	var index struct {
		Manifests []struct {
			Platform *platform `json:"platform"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(m.Payload, &index); err != nil {
		return chain.Internal(err) // it was parsed before
	}
	for _, one := range index.Manifests {
		if one.Platform == nil || allows(u, *one.Platform) {
			return nil
		}
	}
	if len(index.Manifests) == 0 {
		return nil
	}
	return denied(u, "platforms", m.Digest, "it has no image of a platform that is allowed")
}

// image has what rules need of an image's config (image-spec, config.md).
type image struct {
	platform

	Config struct {
		Labels map[string]string
	} `json:"config"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
}

func (p platform) String() string {
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	return text
}

// licenses is the annotation, and label, with an SPDX expression (image-spec,
// annotations.md).
const licenses = "org.opencontainers.image.licenses"

func (c Checker) checkImage(ctx context.Context, u *meta.Upstream, r meta.Repo, d oci.Digest, m *oci.Manifest) error {
	if m.Config.Size > MaxConfig {
		return denied(u, "platforms and licenses", d, "its config has more than %d bytes", MaxConfig)
	}
	payload, err := c.Config(ctx, r, *m.Config)
	if err != nil {
		return err
	}
	var config image
	if err := json.Unmarshal(payload, &config); err != nil {
		return denied(u, "platforms and licenses", d, "its config is not that of an image")
	}
	if !allows(u, config.platform) {
		return denied(u, "platforms", d, "its platform %q is not allowed", fault.Clip(config.platform.String()))
	}
	if len(u.Settings.Licenses) == 0 {
		return nil
	}
	said := m.Annotations[licenses]
	if said == "" {
		said = config.Config.Labels[licenses]
	}
	if said == "" {
		return denied(u, "licenses", d, "it does not say its licenses, in %s", licenses)
	}
	if ok, err := spdxexp.Satisfies(said, u.Settings.Licenses); err != nil || !ok {
		return denied(u, "licenses", d, "its licenses %q are not allowed", fault.Clip(said))
	}
	return nil
}

// allows reports whether images of the platform are served. A pattern without a variant
// stands for all variants.
func allows(u *meta.Upstream, p platform) bool {
	plain := platform{OS: p.OS, Architecture: p.Architecture}.String()
	matches := func(pattern string) bool {
		return doublestar.MatchUnvalidated(pattern, plain) || doublestar.MatchUnvalidated(pattern, p.String())
	}
	s := &u.Settings
	return (len(s.Platforms) == 0 || slices.ContainsFunc(s.Platforms, matches)) && !slices.ContainsFunc(s.DeniedPlatforms, matches)
}

func isImage(mediaType string) bool {
	return mediaType == "application/vnd.oci.image.config.v1+json" || mediaType == "application/vnd.docker.container.image.v1+json"
}

// denied is the refusal of a manifest by a rule. The detail is for programs.
func denied(u *meta.Upstream, setting string, d oci.Digest, format string, args ...any) error {
	f := fault.New(fault.Denied, fault.DeniedReason, "the setting %s of upstream %q does not allow manifest %s: "+format,
		append([]any{setting, u.Slug, d}, args...)...)
	return chain.RuleError{Fault: f.WithDetail(map[string]string{
		"reason": "RULE", "upstream": u.Slug, "setting": strings.Split(setting, " ")[0], "digest": d.String(),
	})}
}
