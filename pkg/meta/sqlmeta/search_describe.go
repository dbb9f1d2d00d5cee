package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// A hosted manifest with its place.
const findToDescribe = `
SELECT r.registry_id, r.name, m.media_type, m.payload
  FROM manifests m
  JOIN repositories r ON r.tenant_id = m.tenant_id AND r.id = m.repo_id
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
 WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = $3 AND m.expire_at IS NULL AND r.state = 'active' AND g.upstream_id IS NULL`

// How many bytes of texts a step has, but for those of its last manifest: each is about one
// more trigram.
const (
	mostDescribed       = 64 << 10
	mostDescribedSQLite = 4 << 10
)

// described reads the texts of the manifests that changed, before the transaction. A manifest
// is what its digest says, so they stay right. It leaves out those that cannot be read, and
// the last changes where the texts are too many for one step.
func (s *Records) described(ctx context.Context, changes []searchChange, describe meta.Describe) ([]searchChange, map[oci.Digest][]meta.SearchText, error) {
	texts, left := map[oci.Digest][]meta.SearchText{}, mostDescribed
	if s.engine.Pick("sqlite", "") != "" {
		left = mostDescribedSQLite
	}
	if describe == nil {
		return changes, texts, nil
	}
	for i, c := range changes {
		if left <= 0 {
			return changes[:i], texts, nil
		}
		if _, known := texts[c.digest]; known || c.digest == "" {
			continue
		}
		found, err := s.describe(ctx, c, describe)
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, fault.From(ctx.Err())
			}
			continue
		}
		room := meta.MostSearchText
		for i, text := range found {
			if room -= len(meta.SearchTerm(text.Text)); room < 0 {
				found = found[:i]
				break
			}
		}
		texts[c.digest] = found
		left -= meta.MostSearchText - max(room, 0)
	}
	return changes, texts, nil
}

func (s *Records) describe(ctx context.Context, c searchChange, describe meta.Describe) ([]meta.SearchText, error) {
	r := meta.Repo{Tenant: c.tenant}
	m, err := find(ctx, s, c.tenant, fault.New(fault.NotFound, fault.ManifestUnknown, "the manifest is gone"), func(scan Scan) (meta.Manifest, error) {
		m := meta.Manifest{Digest: c.digest}
		var registry tenant.RegistryID
		err := scan(&registry, &r.Name, &m.MediaType, &m.Payload)
		r.Registry = registry
		return m, err
	}, findToDescribe, c.tenant, c.repo, c.digest.Bytes())
	if err != nil {
		return nil, err
	}
	return describe(ctx, r, m)
}
