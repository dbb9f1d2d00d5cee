package policy

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/github/go-spdx/v2/spdxexp"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// maxConfig is the maximum size of a config that a rule reads, in bytes.
const maxConfig = 4 << 20

// checkContent decides by platform and license.
func (c Checker) checkContent(ctx context.Context, u *meta.Upstream, r meta.Repo, m meta.Manifest) error {
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	switch {
	case err != nil:
		return chain.Internal(err) // it was parsed before it was stored
	case parsed.Config == nil:
		return checkIndex(u, m)
	case !IsImage(parsed.Config.MediaType):
		return nil // an artifact has neither a platform nor a license
	}
	if evidence, err := c.isEvidence(ctx, r, m.Digest, parsed); err != nil || evidence {
		return err
	}
	return c.checkImage(ctx, u, r, m.Digest, parsed)
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

// ReadLabels reads the labels of an image from its config. The config of what is not an image
// of a platform, such as an attestation of BuildKit, has none, and false is returned.
func ReadLabels(ctx context.Context, from Content, r meta.Repo, config oci.Descriptor) (map[string]string, bool, error) {
	if !IsImage(config.MediaType) {
		return nil, false, nil
	}
	payload, err := readBlob(ctx, from, r, config, maxConfig)
	if errors.Is(err, errTooLong) {
		return nil, true, nil
	}
	if err != nil {
		return nil, true, err
	}
	var read image
	if err := json.Unmarshal(payload, &read); err != nil {
		return nil, true, nil //nolint:nilerr // it has no labels that can be read
	}
	return read.Config.Labels, read.OS != "unknown", nil
}

// ReadImage reads the labels and the platform of an image from its config. Both are empty
// where it says none, or is too long.
func ReadImage(ctx context.Context, from Content, r meta.Repo, config oci.Descriptor) (map[string]string, string, error) {
	payload, err := readBlob(ctx, from, r, config, maxConfig)
	if errors.Is(err, errTooLong) {
		return nil, "", nil
	}
	var read image
	if err != nil || json.Unmarshal(payload, &read) != nil || read.OS == "" || read.OS == "unknown" {
		return read.Config.Labels, "", err
	}
	return read.Config.Labels, read.platform.String(), nil
}

// PlatformText is a platform as rules and searches have it.
func PlatformText(os, architecture, variant string) string {
	return platform{OS: os, Architecture: architecture, Variant: variant}.String()
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
	payload, err := readBlob(ctx, c.content(), r, *m.Config, maxConfig)
	switch {
	case errors.Is(err, errTooLong):
		return denied(u, "platforms and licenses", d, "its config has more than %d bytes", maxConfig)
	case err != nil:
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
	s := &u.Settings
	return (len(s.Platforms) == 0 || p.matchesAny(s.Platforms)) && !p.matchesAny(s.DeniedPlatforms)
}

// matchesAny reports whether one of the patterns matches.
func (p platform) matchesAny(patterns []string) bool {
	plain := platform{OS: p.OS, Architecture: p.Architecture}.String()
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return doublestar.MatchUnvalidated(pattern, plain) || doublestar.MatchUnvalidated(pattern, p.String())
	})
}

// OfPlatforms are the entries of an index whose platform one of the patterns matches, and
// those without one. No patterns match all.
func OfPlatforms(index []byte, patterns []string) (map[oci.Digest]bool, error) {
	var read struct {
		Manifests []struct {
			Digest   oci.Digest `json:"digest"`
			Platform *platform  `json:"platform"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(index, &read); err != nil {
		return nil, chain.Internal(err) // it was parsed before
	}
	of := map[oci.Digest]bool{}
	for _, m := range read.Manifests {
		if len(patterns) == 0 || m.Platform == nil || m.Platform.matchesAny(patterns) {
			of[m.Digest] = true
		}
	}
	return of, nil
}

// IsImage reports whether a config of this media type is that of an image.
func IsImage(mediaType string) bool {
	return mediaType == "application/vnd.oci.image.config.v1+json" || mediaType == "application/vnd.docker.container.image.v1+json"
}
