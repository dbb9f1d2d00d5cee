package pgmeta

import (
	"context"
	"fmt"
)

const (
	allowWalks  = `SET enable_seqscan = on`
	forbidWalks = `RESET enable_seqscan`
)

// walk calls read for every row of a statement that may read whole tables: its
// only bound is ctx. read has seen some rows when walk fails.
func (s *Store) walk(ctx context.Context, query string, args []any, read func(scan scan) error) error {
	c, err := s.acquire(ctx, noTenant, false)
	if err != nil {
		return err
	}
	defer c.release()
	if _, err := c.Exec(ctx, allowWalks); err != nil {
		return translate(err)
	}
	defer func() { _, _ = c.Exec(context.WithoutCancel(ctx), forbidWalks) }() // a lost connection has no settings
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
