package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/blob"
)

const fetchSessions = `
SELECT tenant_id, id, state, incarnation, tail FROM uploads WHERE state IN ('open', 'sealed') AND cached = 1`

// EndFetches ends the sessions in which blobs for caches are stored, and returns their
// objects, which can be deleted at once. Only this process writes them, so that at its
// start they are what an earlier one left: nothing continues a fetch, and what it wrote
// and had not recorded would take space without being counted.
func (s *Store) EndFetches(ctx context.Context) ([]blob.Key, error) {
	var left []blob.Key
	err := s.step(ctx, deployment, func(t *tx) error {
		sessions, err := t.uploads(fetchSessions)
		if err != nil {
			return err
		}
		life := s.life
		life.StagedDelay = 0
		left = nil
		for _, u := range sessions {
			if err := t.reap(u, life); err != nil {
				return err
			}
			left = append(left, blob.Key{Tenant: int64(u.tenant), Incarnation: u.incarnation})
		}
		return nil
	})
	return left, err
}
