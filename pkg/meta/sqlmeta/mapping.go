package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	findMapped = `
SELECT 1 FROM mapped_groups WHERE provider_id = $1 AND applied_in = $2 AND mapping = $3 AND directory_group = $4`

	insertMapped = `
INSERT INTO mapped_groups (provider_id, applied_in, mapping, directory_group, applied_at) VALUES ($1, $2, $3, $4, berth_now())
ON CONFLICT (provider_id, applied_in, mapping, directory_group) DO NOTHING`

	findMade = `SELECT 1 FROM mapping_made WHERE provider_id = $1 AND made_in = $2 AND registry_id = $3`

	insertMade = `
INSERT INTO mapping_made (provider_id, made_in, registry_id) VALUES ($1, $2, $3)
ON CONFLICT (provider_id, made_in, registry_id) DO NOTHING`

	deleteMappedOfProvider = `DELETE FROM mapped_groups WHERE provider_id = $1`
	deleteMadeByProvider   = `DELETE FROM mapping_made WHERE provider_id = $1`
	deleteMappedInTenant   = `DELETE FROM mapped_groups WHERE applied_in = $1`
	deleteMadeInTenant     = `DELETE FROM mapping_made WHERE made_in = $1`
)

// isThere reports whether a query has a row.
func (s *Records) isThere(ctx context.Context, owner tenant.ID, query string, args ...any) (bool, error) {
	rows, err := list(ctx, s, owner, func(scan Scan) (int64, error) {
		var one int64
		err := scan(&one)
		return one, err
	}, query, args...)
	return len(rows) > 0, err
}

// IsMapped implements meta.Mappings.
func (s *Records) IsMapped(ctx context.Context, g meta.MappedGroup) (bool, error) {
	return s.isThere(ctx, g.In, findMapped, g.Provider.ID, g.In, g.Mapping[:], g.Group)
}

// RecordMapped implements meta.Mappings.
func (s *Records) RecordMapped(ctx context.Context, by meta.Cause, g meta.MappedGroup) error {
	return s.engine.Write(ctx, g.In, func(t Tx) error {
		n, err := t.Exec(insertMapped, g.Provider.ID, g.In, g.Mapping[:], g.Group)
		if err != nil || n == 0 || g.Skipped == "" {
			return err
		}
		by.Changes = []meta.Change{{Field: "group", Old: g.Group, New: g.Skipped}}
		return Event(t, by, g.In, "identityProvider.skip", identityProviderTarget(g.Provider.Slug))
	})
}

// RecordMade implements meta.Mappings.
func (s *Records) RecordMade(ctx context.Context, provider int64, id tenant.ID, r tenant.RegistryID) error {
	return s.engine.Write(ctx, id, func(t Tx) error { return t.Queue(insertMade, provider, id, r) })
}

// WasMade implements meta.Mappings.
func (s *Records) WasMade(ctx context.Context, provider int64, id tenant.ID, r tenant.RegistryID) (bool, error) {
	return s.isThere(ctx, id, findMade, provider, id, r)
}
