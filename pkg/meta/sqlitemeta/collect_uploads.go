package sqlitemeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// ReapUploads implements meta.Collector.
func (s *Store) ReapUploads(ctx context.Context, limit int) (int, error) {
	work := 0
	err := s.step(ctx, deployment, func(t *tx) error {
		due, err := t.uploads(dueUploads, t.now, limit)
		if err != nil {
			return err
		}
		for _, u := range due {
			if err := t.reap(u, s.life); err != nil {
				return err
			}
			if work++; t.spent() {
				return nil
			}
		}
		orphans, err := t.exec(condemnOrphans, t.now-2*s.life.UploadTTL.Microseconds(), t.after(s.life.StagedDelay), limit)
		work += int(orphans)
		return err
	})
	return work, err
}

type dueUpload struct {
	tenant            tenant.ID
	id                uuid.UUID
	state             meta.UploadState
	incarnation, tail uuid.UUID
}

const dueUploads = `
SELECT tenant_id, id, state, incarnation, tail FROM uploads WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2`

func (t *tx) uploads(query string, args ...any) ([]dueUpload, error) {
	var due []dueUpload
	err := t.list(query, args, func(scan scan) error {
		var u dueUpload
		err := scan(&u.tenant, &u.id, &u.state, &u.incarnation, &u.tail)
		due = append(due, u)
		return err
	})
	return due, err
}

const expireUpload = `
UPDATE uploads SET state = 'expired', epoch = epoch + 1, expires_at = ?3 WHERE tenant_id = ?1 AND id = ?2`

const forgetUpload = `DELETE FROM uploads WHERE tenant_id = ?1 AND id = ?2`

// reap expires an idle session, or removes an ended one.
func (t *tx) reap(u dueUpload, life meta.Lifetimes) error {
	if u.state == meta.UploadCommitted || u.state == meta.UploadExpired {
		_, err := t.exec(forgetUpload, u.tenant, u.id[:])
		return err
	}
	if _, err := t.exec(expireUpload, u.tenant, u.id[:], t.after(life.Committed)); err != nil {
		return err
	}
	return t.condemnStaged(u.tenant, life, u.incarnation, u.tail)
}

// Staged objects without a session: tails that were intended and never recorded.
const condemnOrphans = `
UPDATE objects SET state = 'D', delete_after = ?2
 WHERE (tenant_id, incarnation) IN (
       SELECT o.tenant_id, o.incarnation FROM objects o
        WHERE o.state = 'S' AND o.created_at < ?1
          AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.tenant_id = o.tenant_id AND u.incarnation = o.incarnation AND u.state IN ('open', 'sealed'))
          AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.tenant_id = o.tenant_id AND u.tail = o.incarnation AND u.state IN ('open', 'sealed'))
        ORDER BY o.created_at LIMIT ?3)`
