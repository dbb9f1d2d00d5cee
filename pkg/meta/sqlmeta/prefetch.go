package sqlmeta

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectPrefetch = `
SELECT p.tenant_id, p.slug, p.upstream, p.display_name, p.disabled, p.body, p.version, p.created_at, p.updated_at,
       r.number, r.due_at, r.began_at, r.ended_at, r.listed, r.limited, r.total, r.done, r.failed, r.bytes, r.failure
  FROM prefetches p JOIN prefetch_runs r ON r.tenant_id = p.tenant_id AND r.slug = p.slug
 WHERE p.tenant_id = $1`

	findPrefetch   = selectPrefetch + ` AND p.slug = $2`
	listPrefetches = selectPrefetch + ` AND p.slug > $2 ORDER BY p.slug LIMIT $3`

	insertPrefetch = `
INSERT INTO prefetches (tenant_id, slug, upstream, display_name, disabled, body, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, 1, berth_now(), berth_now())`

	insertPrefetchRun = `
INSERT INTO prefetch_runs (tenant_id, slug, number, listed, limited, total, done, failed, bytes, failure)
VALUES ($1, $2, 0, false, false, 0, 0, 0, 0, '')`

	findPrefetchVersion = `SELECT version FROM prefetches WHERE tenant_id = $1 AND slug = $2`

	updatePrefetch = `
UPDATE prefetches SET upstream = $3, display_name = $4, disabled = $5, body = $6, version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug = $2`

	// The run is the first lock, as of its steps.
	deletePrefetchRun = `DELETE FROM prefetch_runs WHERE tenant_id = $1 AND slug = $2`
	deletePrefetch    = `DELETE FROM prefetches WHERE tenant_id = $1 AND slug = $2`

	// A run of the prefetch ends.
	schedulePrefetch = `
UPDATE prefetch_runs SET due_at = CASE WHEN $3 THEN berth_now() END, worker = NULL,
       ended_at = CASE WHEN number = 0 THEN NULL WHEN ended_at IS NULL THEN berth_now() ELSE ended_at END
 WHERE tenant_id = $1 AND slug = $2`

	runPrefetchNow = `
UPDATE prefetch_runs SET due_at = berth_now() WHERE tenant_id = $1 AND slug = $2 AND (number = 0 OR ended_at IS NOT NULL)`

	isPrefetchDisabled = `SELECT disabled FROM prefetches WHERE tenant_id = $1 AND slug = $2`

	selectPrefetchReference = `
SELECT i.reference, i.state, i.attempts, i.digest, i.bytes, i.failure, i.updated_at
  FROM prefetch_references i WHERE i.tenant_id = $1 AND i.slug = $2`

	listPrefetchReferences = selectPrefetchReference + ` AND i.reference > $3 ORDER BY i.reference LIMIT $4`
)

// prefetchBody is the JSON of a prefetch, but for what has a column.
type prefetchBody struct {
	References []string      `json:"references,omitempty"`
	Patterns   []string      `json:"patterns,omitempty"`
	Platforms  []string      `json:"platforms,omitempty"`
	Interval   time.Duration `json:"interval,omitempty"`
}

// prefetchScanner reads a prefetchBody into a prefetch.
type prefetchScanner struct{ to *meta.Prefetch }

// Scan implements sql.Scanner.
func (s prefetchScanner) Scan(v any) error {
	var b prefetchBody
	if err := (jsonScanner{&b}).Scan(v); err != nil {
		return err
	}
	s.to.References, s.to.Patterns, s.to.Platforms, s.to.Interval = b.References, b.Patterns, b.Platforms, b.Interval
	return nil
}

func prefetchInto(p *meta.Prefetch) []any {
	r := &p.Run
	return []any{
		&p.Tenant, &p.Slug, &p.Upstream, &p.DisplayName, &p.Disabled,
		prefetchScanner{p},
		&p.Version,
		timeScanner{&p.CreatedAt},
		timeScanner{&p.UpdatedAt},
		&r.Number,
		timeScanner{&r.DueAt},
		timeScanner{&r.BeganAt},
		timeScanner{&r.EndedAt},
		&r.Listed, &r.Limited, &r.Total, &r.Done, &r.Failed, &r.Bytes, &r.Failure,
	}
}

func scanPrefetch(scan Scan) (meta.Prefetch, error) {
	var p meta.Prefetch
	err := scan(prefetchInto(&p)...)
	return p, err
}

func prefetchReferenceInto(r *meta.PrefetchReference) []any {
	return []any{&r.Reference, &r.State, &r.Attempts, &r.Digest, &r.Bytes, &r.Failure, timeScanner{&r.UpdatedAt}}
}

func scanPrefetchReference(scan Scan) (meta.PrefetchReference, error) {
	var r meta.PrefetchReference
	err := scan(prefetchReferenceInto(&r)...)
	return r, err
}

// FindPrefetch implements meta.Prefetches.
func (s *Records) FindPrefetch(ctx context.Context, t tenant.ID, slug string) (meta.Prefetch, error) {
	return find(ctx, s, t, noPrefetch(slug), scanPrefetch, findPrefetch, t, slug)
}

// ListPrefetches implements meta.Prefetches.
func (s *Records) ListPrefetches(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Prefetch, error) {
	return list(ctx, s, t, scanPrefetch, listPrefetches, t, p.After, p.Size)
}

// ListPrefetchReferences implements meta.Prefetches.
func (s *Records) ListPrefetchReferences(ctx context.Context, t tenant.ID, slug string, p meta.Page) ([]meta.PrefetchReference, error) {
	return list(ctx, s, t, scanPrefetchReference, listPrefetchReferences, t, slug, p.After, p.Size)
}

// CreatePrefetch implements meta.Prefetches.
func (s *Records) CreatePrefetch(ctx context.Context, by meta.Cause, p meta.Prefetch) (meta.Prefetch, error) {
	return s.writePrefetch(ctx, p, func(t Tx, body string) error {
		if err := beginAlone(t, by, p.Tenant, "prefetch.create", meta.PrefetchTarget(p.Slug)); err != nil {
			return err
		}
		t.OnViolation("prefetches_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "prefetch %q exists already", p.Slug))
		if err := t.Queue(insertPrefetch, p.Tenant, p.Slug, p.Upstream, p.DisplayName, p.Disabled, body); err != nil {
			return err
		}
		if err := t.Queue(insertPrefetchRun, p.Tenant, p.Slug); err != nil {
			return err
		}
		return checkLimit(t, s.limits.PrefetchLimit(), countPrefetches, p.Tenant)
	})
}

// UpdatePrefetch implements meta.Prefetches.
func (s *Records) UpdatePrefetch(ctx context.Context, by meta.Cause, p meta.Prefetch) (meta.Prefetch, error) {
	return s.writePrefetch(ctx, p, func(t Tx, body string) error {
		if err := beginPrefetchChange(t, by, "prefetch.update", p.Tenant, p.Slug, p.Version); err != nil {
			return err
		}
		return t.Queue(updatePrefetch, p.Tenant, p.Slug, p.Upstream, p.DisplayName, p.Disabled, body)
	})
}

// writePrefetch writes a prefetch and schedules its next run.
func (s *Records) writePrefetch(ctx context.Context, p meta.Prefetch, write func(t Tx, body string) error) (meta.Prefetch, error) {
	body, err := json.Marshal(prefetchBody{References: p.References, Patterns: p.Patterns, Platforms: p.Platforms, Interval: p.Interval})
	if err != nil {
		return meta.Prefetch{}, err
	}
	err = s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		if err := write(t, string(body)); err != nil {
			return err
		}
		return t.Queue(schedulePrefetch, p.Tenant, p.Slug, !p.Disabled && p.Interval > 0)
	})
	if err != nil {
		return meta.Prefetch{}, err
	}
	return s.FindPrefetch(ctx, p.Tenant, p.Slug)
}

// beginPrefetchChange records the event of a change, and checks that the prefetch exists in
// the expected version.
func beginPrefetchChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := beginAlone(t, by, id, verb, meta.PrefetchTarget(slug)); err != nil {
		return err
	}
	var have int64
	found, err := t.Find(findPrefetchVersion, []any{id, slug}, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return noPrefetch(slug)
	}
	return checkVersion(have, version)
}

// DeletePrefetch implements meta.Prefetches.
func (s *Records) DeletePrefetch(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginPrefetchChange(t, by, "prefetch.delete", id, slug, version); err != nil {
			return err
		}
		if err := t.Queue(deletePrefetchRun, id, slug); err != nil {
			return err
		}
		return t.Queue(deletePrefetch, id, slug)
	})
}

// RunPrefetch implements meta.Prefetches.
func (s *Records) RunPrefetch(ctx context.Context, by meta.Cause, id tenant.ID, slug string) (meta.Prefetch, error) {
	err := s.engine.Write(ctx, id, func(t Tx) error {
		if err := beginPrefetchChange(t, by, "prefetch.start", id, slug, 0); err != nil {
			return err
		}
		var disabled bool
		if _, err := t.Find(isPrefetchDisabled, []any{id, slug}, &disabled); err != nil {
			return err
		}
		if disabled {
			return fault.New(fault.Invalid, fault.RequestInvalid, "prefetch %q is disabled; enable it first", slug)
		}
		return t.Queue(runPrefetchNow, id, slug)
	})
	if err != nil {
		return meta.Prefetch{}, err
	}
	return s.FindPrefetch(ctx, id, slug)
}

func noPrefetch(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "prefetch %q not found", slug)
}
