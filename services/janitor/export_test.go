package janitor

import (
	"context"
	"io"
)

// Evict makes room in caches, and trims the audit log, when a test wants it.
func (j *Janitor) Evict(ctx context.Context) error {
	_, err := j.round(ctx, j.evictions, full)
	return err
}

// CopySlowly is the reading of a scrub.
func (s *Scrubber) CopySlowly(ctx context.Context, to io.Writer, from io.Reader) (int64, error) {
	return s.copySlowly(ctx, to, from, noBeat)
}
