package assemble

import (
	"context"
	"fmt"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/services/internal/ingest"
)

// removeFetches deletes what an earlier process of an embedded deployment had not
// finished to store in caches, so that it takes none of their room.
func (s stores) removeFetches(ctx context.Context) error {
	m, ok := s.meta.(interface {
		EndFetches(ctx context.Context) ([]blob.Key, error)
	})
	remove := ingest.RemoverFor(s.blobs)
	if !ok || remove == nil {
		return nil
	}
	left, err := m.EndFetches(ctx)
	if err != nil {
		return fmt.Errorf("end the fetches of the process before: %w", err)
	}
	for _, k := range left {
		if err := remove(ctx, k); err != nil {
			return fmt.Errorf("remove what the process before had begun to store: %w", err)
		}
	}
	return nil
}
