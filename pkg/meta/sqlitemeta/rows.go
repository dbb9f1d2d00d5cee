package sqlitemeta

import "context"

// collect reads all rows of a query.
func collect[T any](ctx context.Context, s *Store, read func(scan) (T, error), query string, args ...any) ([]T, error) {
	rows := []T{}
	err := s.list(ctx, query, args, func(scan scan) error {
		row, err := read(scan)
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}
