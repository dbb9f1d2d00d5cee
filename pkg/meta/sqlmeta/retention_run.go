package sqlmeta

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	dueRetentionSQLite   = `SELECT d.tenant_id, d.slug FROM retention_runs d WHERE d.due_at <= berth_now() ORDER BY d.due_at LIMIT 1`
	dueRetentionPostgres = `
SELECT d.tenant_id, d.slug FROM retention_runs d WHERE d.due_at <= berth_now() ORDER BY d.due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED`

	// A suspended or deleted tenant's run is looked at again later.
	postponeRetention = `
UPDATE retention_runs SET due_at = berth_now() + CAST($3 AS interval), worker = NULL
 WHERE tenant_id = $1 AND slug = $2 AND NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = $1 AND t.state = 'active')`

	beginRetention = `
UPDATE retention_runs SET number = number + 1, began_at = berth_now(), ended_at = NULL,
       enforced = (SELECT p.enforced FROM retention_policies p WHERE p.tenant_id = $1 AND p.slug = $2),
       registry = '', repository = '', repositories = 0, deletions = 0, tags = 0, manifests = 0, bytes = 0, protected = 0, refused = 0, limited = false, failure = ''
 WHERE tenant_id = $1 AND slug = $2 AND (number = 0 OR ended_at IS NOT NULL)`

	claimRetention = `
UPDATE retention_runs SET worker = $3, due_at = berth_now() + CAST($4 AS interval) WHERE tenant_id = $1 AND slug = $2`

	ofRetentionWorker = ` WHERE tenant_id = $1 AND slug = $2 AND number = $3 AND worker = $4`

	// What a run that deletes has deleted, its deletions count.
	advanceRetention = `
UPDATE retention_runs SET due_at = berth_now() + CAST($5 AS interval), failure = '',
       registry = $6, repository = $7, repositories = $8, protected = $9, refused = $10,
       deletions = CASE WHEN enforced THEN deletions ELSE $11 END, tags = CASE WHEN enforced THEN tags ELSE $12 END,
       manifests = CASE WHEN enforced THEN manifests ELSE $13 END, bytes = CASE WHEN enforced THEN bytes ELSE $14 END` + ofRetentionWorker

	countRetentionDeletion = `
UPDATE retention_runs SET due_at = berth_now() + CAST($5 AS interval),
       deletions = deletions + 1, tags = tags + $6, manifests = manifests + $7, bytes = bytes + $8` + ofRetentionWorker + ` AND enforced`

	releaseRetention = `
UPDATE retention_runs SET due_at = berth_now() + CAST($5 AS interval), worker = NULL, failure = $6` + ofRetentionWorker

	endRetention = `
UPDATE retention_runs SET ended_at = berth_now(), worker = NULL, limited = $5, due_at = CASE WHEN $6 THEN began_at + CAST($7 AS interval) END` + ofRetentionWorker
)

// suspendedRetention is how long the run of a tenant that is not active waits.
const suspendedRetention = time.Hour

// ClaimRetention implements meta.RetentionRuns.
func (s *Records) ClaimRetention(ctx context.Context, worker uuid.UUID, hold time.Duration) (meta.RetentionPolicy, bool, error) {
	var p meta.RetentionPolicy
	var claimed bool
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		p, claimed = meta.RetentionPolicy{}, false
		var id tenant.ID
		var slug string
		found, err := t.Find(t.Pick(dueRetentionSQLite, dueRetentionPostgres), nil, &id, &slug)
		if err != nil || !found {
			return err
		}
		postponed, err := t.Exec(postponeRetention, id, slug, t.Interval(suspendedRetention))
		if err != nil || postponed > 0 {
			return err
		}
		if err := t.Queue(beginRetention, id, slug); err != nil {
			return err
		}
		if err := t.Queue(claimRetention, id, slug, worker[:], t.Interval(hold)); err != nil {
			return err
		}
		claimed, err = t.Find(findRetentionPolicy, []any{id, slug}, retentionInto(&p)...)
		return err
	})
	return p, claimed, err
}

// ofWorker are the first arguments of a statement about a worker's run.
func ofWorker(s meta.RetentionStep, more ...any) []any {
	return append([]any{s.Tenant, s.Policy, s.Number, s.Worker[:]}, more...)
}

// AdvanceRetention implements meta.RetentionRuns. It writes sums, so that it may be
// repeated.
func (s *Records) AdvanceRetention(ctx context.Context, step meta.RetentionStep, p meta.RetentionProgress) (bool, error) {
	var rows int64
	err := s.engine.Write(ctx, step.Tenant, func(t Tx) error {
		var err error
		rows, err = advance(t, step, p)
		return err
	})
	return rows > 0, err
}

func advance(t Tx, step meta.RetentionStep, p meta.RetentionProgress) (int64, error) {
	return t.Exec(advanceRetention, ofWorker(step, t.Interval(step.Hold),
		p.Registry, p.Repository, p.Repositories, p.Protected, p.Refused, p.Deletions, p.Tags, p.Manifests, p.Bytes)...)
}

// ReleaseRetention implements meta.RetentionRuns.
func (s *Records) ReleaseRetention(ctx context.Context, step meta.RetentionStep, after time.Duration, failure string) error {
	return s.engine.Write(ctx, step.Tenant, func(t Tx) error {
		return t.Queue(releaseRetention, ofWorker(step, t.Interval(after), failure)...)
	})
}

// EndRetention implements meta.RetentionRuns.
func (s *Records) EndRetention(ctx context.Context, by meta.Cause, step meta.RetentionStep, p meta.RetentionProgress, limited bool) (bool, error) {
	ended := false
	err := s.engine.Write(ctx, step.Tenant, func(t Tx) error {
		ended = false
		if err := AlreadyDone(t, by, step.Tenant); err != nil {
			ended = true
			return err
		}
		rows, err := advance(t, step, p)
		if err != nil || rows == 0 {
			return err
		}
		var of meta.RetentionPolicy
		found, err := t.Find(findRetentionPolicy, []any{step.Tenant, step.Policy}, retentionInto(&of)...)
		if err != nil || !found {
			return err
		}
		by.Changes = ranChanges(of.Run, limited)
		if err := Event(t, by, step.Tenant, meta.RetentionRan, meta.RetentionPolicyTarget(step.Policy)); err != nil {
			return err
		}
		ended = true
		return t.Queue(endRetention, ofWorker(step, limited, of.Interval > 0, t.Interval(of.Interval))...)
	})
	return ended, err
}

// ranChanges are what the event of a run says.
func ranChanges(r meta.RetentionRun, limited bool) []meta.Change {
	mode := "OBSERVE"
	if r.Enforced {
		mode = "ENFORCE"
	}
	changes := []meta.Change{{Field: "mode", New: mode}}
	for _, n := range []struct {
		field string
		of    int64
	}{
		{"repositories", r.Repositories},
		{"tags", r.Tags},
		{"manifests", r.Manifests},
		{"bytes", r.Bytes},
		{"protected", r.Protected},
		{"refused", r.Refused},
	} {
		changes = append(changes, meta.Change{Field: n.field, New: strconv.FormatInt(n.of, 10)})
	}
	if limited {
		changes = append(changes, meta.Change{Field: "limited", New: "true"})
	}
	return changes
}

// CountDeletion counts a deletion in the run of a policy, which must be the worker's. It is
// the first statement of the transaction that deletes: it holds the run.
func CountDeletion(t Tx, d meta.RetentionDeletion) error {
	manifests := 1
	if d.Deletion.Tag != "" {
		manifests = 0
	}
	rows, err := t.Exec(countRetentionDeletion, ofWorker(d.Step, t.Interval(d.Step.Hold), len(d.Basis.Tags), manifests, d.Deletion.Bytes)...)
	if err == nil && rows == 0 {
		err = meta.RunLost()
	}
	return err
}
