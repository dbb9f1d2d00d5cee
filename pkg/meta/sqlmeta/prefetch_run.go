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
	duePrefetchSQLite   = `SELECT d.tenant_id, d.slug FROM prefetch_runs d WHERE d.due_at <= berth_now() ORDER BY d.due_at LIMIT 1`
	duePrefetchPostgres = `
SELECT d.tenant_id, d.slug FROM prefetch_runs d WHERE d.due_at <= berth_now() ORDER BY d.due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED`

	// A suspended or deleted tenant's run is looked at again later.
	postponePrefetch = `
UPDATE prefetch_runs SET due_at = berth_now() + CAST($3 AS interval), worker = NULL
 WHERE tenant_id = $1 AND slug = $2 AND NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = $1 AND t.state = 'active')`

	beginPrefetch = `
UPDATE prefetch_runs SET number = number + 1, began_at = berth_now(), ended_at = NULL, listed = false, limited = false,
       total = 0, done = 0, failed = 0, bytes = 0, failure = ''
 WHERE tenant_id = $1 AND slug = $2 AND (number = 0 OR ended_at IS NOT NULL)`

	deletePrefetchReferences = `DELETE FROM prefetch_references WHERE tenant_id = $1 AND slug = $2`

	claimPrefetch = `
UPDATE prefetch_runs SET worker = $3, due_at = berth_now() + CAST($4 AS interval) WHERE tenant_id = $1 AND slug = $2`

	findPrefetchTenant = `SELECT t.slug FROM tenants t WHERE t.id = $1`

	ofPrefetchWorker = ` WHERE tenant_id = $1 AND slug = $2 AND number = $3 AND worker = $4`

	holdPrefetch = `
UPDATE prefetch_runs SET due_at = berth_now() + CAST($5 AS interval)` + ofPrefetchWorker

	addPrefetchReference = `
INSERT INTO prefetch_references (tenant_id, slug, reference, state, attempts, digest, bytes, failure, updated_at)
VALUES ($1, $2, $3, 'pending', 0, '', 0, '', berth_now()) ON CONFLICT DO NOTHING`

	countPrefetchReferences = `SELECT count(*) FROM prefetch_references i WHERE i.tenant_id = $1 AND i.slug = $2`

	addedPrefetchReferences = `
UPDATE prefetch_runs SET limited = limited OR $3,
       total = (SELECT count(*) FROM prefetch_references i WHERE i.tenant_id = $1 AND i.slug = $2)
 WHERE tenant_id = $1 AND slug = $2`

	listedPrefetch = `UPDATE prefetch_runs SET listed = true, failure = '' WHERE tenant_id = $1 AND slug = $2`

	nextPrefetch = selectPrefetchReference + ` AND i.state = 'pending' ORDER BY i.attempts, i.reference LIMIT 1`

	recordPrefetch = `
UPDATE prefetch_references SET state = $4, attempts = attempts + 1, digest = $5, bytes = bytes + $6, failure = $7, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug = $2 AND reference = $3 AND state = 'pending'`

	countPrefetch = `
UPDATE prefetch_runs SET failure = '',
       done = done + CASE WHEN $4 THEN 1 ELSE 0 END, failed = failed + CASE WHEN $4 THEN 0 ELSE 1 END,
       bytes = bytes + (SELECT i.bytes FROM prefetch_references i WHERE i.tenant_id = $1 AND i.slug = $2 AND i.reference = $3)
 WHERE tenant_id = $1 AND slug = $2`

	releasePrefetch = `
UPDATE prefetch_runs SET due_at = berth_now() + CAST($5 AS interval), worker = NULL, failure = $6` + ofPrefetchWorker

	endPrefetch = `
UPDATE prefetch_runs SET ended_at = berth_now(), worker = NULL, due_at = CASE WHEN $5 THEN began_at + CAST($6 AS interval) END` + ofPrefetchWorker
)

// ClaimPrefetch implements meta.PrefetchRuns.
func (s *Records) ClaimPrefetch(ctx context.Context, worker uuid.UUID, hold time.Duration) (meta.Prefetch, bool, error) {
	var p meta.Prefetch
	var claimed bool
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		p, claimed = meta.Prefetch{}, false
		var id tenant.ID
		var slug string
		found, err := t.Find(t.Pick(duePrefetchSQLite, duePrefetchPostgres), nil, &id, &slug)
		if err != nil || !found {
			return err
		}
		postponed, err := t.Exec(postponePrefetch, id, slug, t.Interval(suspendedRetention))
		if err != nil || postponed > 0 {
			return err
		}
		begun, err := t.Exec(beginPrefetch, id, slug)
		if err != nil {
			return err
		}
		if begun > 0 {
			if err := t.Queue(deletePrefetchReferences, id, slug); err != nil {
				return err
			}
		}
		if err := t.Queue(claimPrefetch, id, slug, worker[:], t.Interval(hold)); err != nil {
			return err
		}
		if _, err := t.Find(findPrefetchTenant, []any{id}, &p.TenantSlug); err != nil {
			return err
		}
		claimed, err = t.Find(findPrefetch, []any{id, slug}, prefetchInto(&p)...)
		return err
	})
	return p, claimed, err
}

// ofPrefetch are the first arguments of a statement about a worker's run.
func ofPrefetch(s meta.PrefetchStep, more ...any) []any {
	return append([]any{s.Tenant, s.Prefetch, s.Number, s.Worker[:]}, more...)
}

// prefetchStep runs f in a transaction that holds the worker's run, which is its first lock.
func (s *Records) prefetchStep(ctx context.Context, step meta.PrefetchStep, f func(t Tx) error) error {
	return s.engine.Write(ctx, step.Tenant, func(t Tx) error {
		rows, err := t.Exec(holdPrefetch, ofPrefetch(step, t.Interval(step.Hold))...)
		if err != nil {
			return err
		}
		if rows == 0 {
			return meta.RunLost()
		}
		return f(t)
	})
}

// HoldPrefetch implements meta.PrefetchRuns.
func (s *Records) HoldPrefetch(ctx context.Context, step meta.PrefetchStep) error {
	return s.prefetchStep(ctx, step, func(Tx) error { return nil })
}

// AddPrefetchReferences implements meta.PrefetchRuns.
func (s *Records) AddPrefetchReferences(ctx context.Context, step meta.PrefetchStep, references []string) (bool, error) {
	var limited bool
	err := s.prefetchStep(ctx, step, func(t Tx) error {
		var n int
		if _, err := t.Find(countPrefetchReferences, []any{step.Tenant, step.Prefetch}, &n); err != nil {
			return err
		}
		fit := min(max(meta.MaxPrefetched-n, 0), len(references))
		limited = fit < len(references)
		for _, r := range references[:fit] {
			if err := t.Queue(addPrefetchReference, step.Tenant, step.Prefetch, r); err != nil {
				return err
			}
		}
		return t.Queue(addedPrefetchReferences, step.Tenant, step.Prefetch, limited)
	})
	return limited, err
}

// ListedPrefetch implements meta.PrefetchRuns.
func (s *Records) ListedPrefetch(ctx context.Context, step meta.PrefetchStep) error {
	return s.prefetchStep(ctx, step, func(t Tx) error {
		return t.Queue(listedPrefetch, step.Tenant, step.Prefetch)
	})
}

// NextPrefetch implements meta.PrefetchRuns.
func (s *Records) NextPrefetch(ctx context.Context, step meta.PrefetchStep) (meta.PrefetchReference, bool, error) {
	var next meta.PrefetchReference
	var found bool
	err := s.prefetchStep(ctx, step, func(t Tx) error {
		var err error
		next = meta.PrefetchReference{}
		found, err = t.Find(nextPrefetch, []any{step.Tenant, step.Prefetch}, prefetchReferenceInto(&next)...)
		return err
	})
	return next, found, err
}

// RecordPrefetch implements meta.PrefetchRuns. A result that was recorded is not counted
// again, so that it may be repeated.
func (s *Records) RecordPrefetch(ctx context.Context, step meta.PrefetchStep, reference string, r meta.PrefetchResult) error {
	return s.prefetchStep(ctx, step, func(t Tx) error {
		rows, err := t.Exec(recordPrefetch, step.Tenant, step.Prefetch, reference, r.State, r.Digest, r.Bytes, r.Failure)
		if err != nil || rows == 0 || r.State == meta.PrefetchPending {
			return err
		}
		return t.Queue(countPrefetch, step.Tenant, step.Prefetch, reference, r.State == meta.PrefetchDone)
	})
}

// ReleasePrefetch implements meta.PrefetchRuns.
func (s *Records) ReleasePrefetch(ctx context.Context, step meta.PrefetchStep, after time.Duration, failure string) error {
	return s.engine.Write(ctx, step.Tenant, func(t Tx) error {
		return t.Queue(releasePrefetch, ofPrefetch(step, t.Interval(after), failure)...)
	})
}

// EndPrefetch implements meta.PrefetchRuns.
func (s *Records) EndPrefetch(ctx context.Context, by meta.Cause, step meta.PrefetchStep) error {
	return s.engine.Write(ctx, step.Tenant, func(t Tx) error {
		if err := AlreadyDone(t, by, step.Tenant); err != nil {
			return err
		}
		rows, err := t.Exec(holdPrefetch, ofPrefetch(step, t.Interval(step.Hold))...)
		if err != nil {
			return err
		}
		var p meta.Prefetch
		found, err := t.Find(findPrefetch, []any{step.Tenant, step.Prefetch}, prefetchInto(&p)...)
		if err != nil {
			return err
		}
		if rows == 0 || !found {
			return meta.RunLost()
		}
		by.Changes = prefetchedChanges(p.Run)
		if err := Event(t, by, step.Tenant, meta.PrefetchRan, meta.PrefetchTarget(step.Prefetch)); err != nil {
			return err
		}
		return t.Queue(endPrefetch, ofPrefetch(step, p.Interval > 0, t.Interval(p.Interval))...)
	})
}

// prefetchedChanges are what the event of a run says.
func prefetchedChanges(r meta.PrefetchRun) []meta.Change {
	var changes []meta.Change
	for _, n := range []struct {
		field string
		of    int64
	}{{"references", r.Total}, {"done", r.Done}, {"failed", r.Failed}, {"bytes", r.Bytes}} {
		changes = append(changes, meta.Change{Field: n.field, New: strconv.FormatInt(n.of, 10)})
	}
	if r.Limited {
		changes = append(changes, meta.Change{Field: "limited", New: "true"})
	}
	return changes
}
