package pgmeta

import (
	"context"
	"fmt"
)

// walk calls read for every row of a statement that may read whole tables: its
// only bound is ctx. read has seen some rows when walk fails.
func (s *Store) walk(ctx context.Context, query string, args []any, read func(scan scan) error) error {
	c, err := s.acquire(ctx, nobody, false)
	if err != nil {
		return err
	}
	defer c.release()
	rows, err := c.Query(ctx, query, args...)
	if err == nil {
		defer rows.Close()
		err = each(read)(rows)
	}
	if err != nil && c.IsClosed() {
		err = fmt.Errorf("%w: %w", errLost, err)
	}
	return translate(err)
}
