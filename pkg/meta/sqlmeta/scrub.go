package sqlmeta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
)

const (
	scrubColumns = `state, round, started_at, ended_at, coalesce(total, 0), cursor_tenant, cursor_incarnation, objects, bytes, found, repaired`

	makeScrub = `
INSERT INTO scrub (one, state, round, ended_at, cursor_tenant, cursor_incarnation, objects, bytes, found, repaired)
VALUES (1, 'idle', 0, berth_now(), 0, $1, 0, 0, 0, 0) ON CONFLICT (one) DO NOTHING`

	findScrub = `SELECT ` + scrubColumns + ` FROM scrub WHERE one = 1`

	newRound = `
UPDATE scrub SET state = 'running', round = round + 1, started_at = berth_now(), worker = NULL, claimed_until = NULL,
       cursor_tenant = 0, cursor_incarnation = $1, objects = 0, bytes = 0, found = 0, repaired = 0, total = NULL
 WHERE one = 1`

	beginWholeRound = newRound
	beginRound      = newRound + ` AND (state = 'idle' OR state = 'stopped' AND cursor_tenant = 0)`
	beginDueRound   = newRound + ` AND state = 'idle' AND ended_at <= berth_now() - CAST($2 AS interval)`

	sumTotal = `UPDATE scrub SET total = (SELECT CAST(coalesce(sum(used), 0) AS bigint) FROM usage) WHERE one = 1 AND state = 'running' AND total IS NULL`

	continueRound = `UPDATE scrub SET state = 'running' WHERE one = 1 AND state = 'stopped'`
	stopRound     = `UPDATE scrub SET state = 'stopped', cursor_tenant = CASE WHEN state = 'idle' THEN 0 ELSE cursor_tenant END WHERE one = 1`

	claimRound = `
UPDATE scrub SET worker = $1, claimed_until = berth_now() + CAST($2 AS interval)
 WHERE one = 1 AND state = 'running' AND (worker IS NULL OR worker = $1 OR claimed_until <= berth_now())
RETURNING ` + scrubColumns

	advanceRound = `
UPDATE scrub SET cursor_tenant = $3, cursor_incarnation = $4, objects = $5, bytes = $6, found = $7, repaired = $8,
       claimed_until = berth_now() + CAST($9 AS interval)
 WHERE one = 1 AND state = 'running' AND worker = $1 AND round = $2`

	endRound = `
UPDATE scrub SET state = 'idle', ended_at = berth_now(), worker = NULL, claimed_until = NULL
 WHERE one = 1 AND state = 'running' AND worker = $1 AND round = $2`
)

// firstKey is before all incarnations.
var firstKey = make([]byte, 16)

func scrubInto(s *meta.Scrub) []any {
	return []any{
		&s.State, &s.Round,
		timeScanner{&s.StartedAt},
		timeScanner{&s.EndedAt},
		&s.Total,
		&s.Cursor.Tenant, &s.Cursor.Incarnation, &s.Objects, &s.Bytes, &s.Found, &s.Repaired,
	}
}

func scanScrub(scan Scan) (meta.Scrub, error) {
	var s meta.Scrub
	err := scan(scrubInto(&s)...)
	return s, err
}

// FindScrub implements meta.Scrubs.
func (s *Records) FindScrub(ctx context.Context) (meta.Scrub, error) {
	found, err := list(ctx, s, noTenant, scanScrub, findScrub)
	if err != nil || len(found) == 0 {
		return meta.Scrub{State: meta.ScrubIdle}, err
	}
	return found[0], nil
}

// StartScrub implements meta.Scrubs.
func (s *Records) StartScrub(ctx context.Context, by meta.Cause, whole bool) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		if err := Event(t, by, meta.Deployment, meta.StartedScrub, meta.ScrubTarget); err != nil {
			return err
		}
		if err := t.Queue(makeScrub, firstKey); err != nil {
			return err
		}
		if whole {
			return t.Queue(beginWholeRound, firstKey)
		}
		if err := t.Queue(beginRound, firstKey); err != nil {
			return err
		}
		return t.Queue(continueRound)
	})
}

// StopScrub implements meta.Scrubs.
func (s *Records) StopScrub(ctx context.Context, by meta.Cause) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		if err := Event(t, by, meta.Deployment, meta.StoppedScrub, meta.ScrubTarget); err != nil {
			return err
		}
		if err := t.Queue(makeScrub, firstKey); err != nil {
			return err
		}
		return t.Queue(stopRound)
	})
}

// ClaimScrub implements meta.Scrubs.
func (s *Records) ClaimScrub(ctx context.Context, worker uuid.UUID, interval, hold time.Duration) (meta.Scrub, bool, error) {
	var claimed meta.Scrub
	var ok bool
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		err := t.Queue(makeScrub, firstKey)
		if err == nil && interval > 0 {
			err = t.Queue(beginDueRound, firstKey, t.Interval(interval))
		}
		if err == nil {
			err = t.Queue(sumTotal)
		}
		if err != nil {
			return err
		}
		ok, err = t.Find(claimRound, []any{worker[:], t.Interval(hold)}, scrubInto(&claimed)...)
		return err
	})
	return claimed, ok, err
}

// AdvanceScrub implements meta.Scrubs. It writes sums, so that it may be repeated.
func (s *Records) AdvanceScrub(ctx context.Context, worker uuid.UUID, at meta.Scrub, hold time.Duration, end bool) (bool, error) {
	var rows int64
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		var err error
		rows, err = t.Exec(advanceRound, worker[:], at.Round, at.Cursor.Tenant, at.Cursor.Incarnation[:], at.Objects, at.Bytes, at.Found, at.Repaired, t.Interval(hold))
		if err == nil && end {
			err = t.Queue(endRound, worker[:], at.Round)
		}
		return err
	})
	return rows > 0, err
}
