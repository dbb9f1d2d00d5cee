package janitor

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/policy"
)

// mostOfKind is how many annotations, labels or platforms of a manifest are indexed.
const mostOfKind = 64

// describe is what a manifest is found by: its artifact type, annotations and platforms and,
// of its config, labels and the platform.
func (j *Janitor) describe(ctx context.Context, r meta.Repo, m meta.Manifest) ([]meta.SearchText, error) {
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	if err != nil {
		return nil, err
	}
	var texts []meta.SearchText // the short ones first: of all, there is a limit
	config := parsed.Config
	if t := parsed.ReferrerType(); t != "" && (config == nil || !policy.IsImage(t)) {
		texts = append(texts, meta.SearchText{Kind: meta.SearchArtifactType, Text: t})
	}
	annotations := pairs(meta.SearchAnnotation, parsed.Annotations)
	if config == nil {
		return slices.Concat(texts, platforms(m.Payload), annotations), nil
	}
	if j.cfg.Content == nil || !policy.IsImage(config.MediaType) {
		return append(texts, annotations...), nil
	}
	labels, platform, err := policy.ReadImage(ctx, j.cfg.Content, r, *config)
	if err != nil {
		j.cfg.Log.WarnContext(ctx, "the config of an image could not be read; the search does not find its labels", "repository", r.Name, "digest", m.Digest.String(), "error", err)
		return nil, err
	}
	if platform != "" {
		texts = append(texts, meta.SearchText{Kind: meta.SearchPlatform, Text: platform})
	}
	return slices.Concat(texts, annotations, pairs(meta.SearchLabel, labels)), nil
}

// pairs are texts such as key=value, in order of keys.
func pairs(kind meta.SearchKind, values map[string]string) []meta.SearchText {
	var texts []meta.SearchText
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if len(texts) < mostOfKind {
			texts = append(texts, meta.SearchText{Kind: kind, Text: key + "=" + values[key]})
		}
	}
	return texts
}

// platforms are those that an index has images for.
func platforms(payload []byte) []meta.SearchText {
	var index struct {
		Manifests []struct {
			Platform *imagespec.Platform `json:"platform"`
		} `json:"manifests"`
	}
	if json.Unmarshal(payload, &index) != nil {
		return nil // it was parsed before it was stored
	}
	var texts []meta.SearchText
	for _, one := range index.Manifests {
		if p := one.Platform; p != nil && p.OS != "unknown" && len(texts) < mostOfKind {
			texts = append(texts, meta.SearchText{Kind: meta.SearchPlatform, Text: policy.PlatformText(p.OS, p.Architecture, p.Variant)})
		}
	}
	return texts
}
