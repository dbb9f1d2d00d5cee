package pgmeta

import "context"

const sumUsage = `SELECT coalesce(sum(used), 0)::bigint FROM usage`

// StoredBytes implements meta.Collector.
func (s *Store) StoredBytes(ctx context.Context) (int64, error) {
	var bytes int64
	_, err := s.find(ctx, noTenant, sumUsage, nil, &bytes)
	return bytes, err
}
