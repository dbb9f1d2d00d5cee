package janitor

import "context"

// Evict makes room in caches, and trims the audit log, when a test wants it.
func (j *Janitor) Evict(ctx context.Context) error {
	_, err := j.round(ctx, j.evictions)
	return err
}
