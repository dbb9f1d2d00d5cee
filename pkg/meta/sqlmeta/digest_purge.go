package sqlmeta

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// A purge is a row of digest_purges, which its steps, each a transaction, lead to its end.
// Every step can be run again, by any process: the janitor continues what was interrupted.
const (
	beginDigestPurge = `
INSERT INTO digest_purges (tenant_id, digest, op, force, cause, began_at) VALUES ($1, $2, $3, $4, $5, berth_now())
ON CONFLICT (tenant_id, digest) DO UPDATE SET force = digest_purges.force OR excluded.force`

	findDigestPurge = `SELECT tenant_id, digest, op, force, cause FROM digest_purges WHERE tenant_id = $1 AND digest = $2`

	unfinishedPurge = `SELECT tenant_id, digest, op, force, cause FROM digest_purges WHERE began_at <= berth_now() ORDER BY began_at LIMIT 1`

	// One that failed begins again later, after the others.
	stepBack = `UPDATE digest_purges SET began_at = berth_now() + CAST($4 AS interval) WHERE tenant_id = $1 AND digest = $2 AND op = $3`

	// A step holds the row, so that none changes anything after the purge has ended: what is
	// pushed then stays.
	findToHold = `SELECT digest FROM digest_purges WHERE tenant_id = $1 AND digest = $2 AND op = $3`
	holdPurge  = findToHold + ` FOR KEY SHARE`

	endDigestPurge = `DELETE FROM digest_purges WHERE tenant_id = $1 AND digest = $2 AND op = $3`
)

// PurgedManifest is a manifest that a purge deletes.
type PurgedManifest struct {
	Tenant tenant.ID
	Repo   int64
	Digest oci.Digest
	Purge  oci.Digest // the digest of the purge
	Op     uuid.UUID  // of the purge, by which its tags are deleted
	By     meta.Cause // of its event
	Target string     // of its event
}

// PurgeSteps is what the stores do differently.
type PurgeSteps struct {
	// Delete deletes a manifest as by a forced delete, but into no trash, and remembers what
	// it named (RememberPurged), while the purge runs (HoldPurge). It reports whether it
	// does. It does nothing if an index names the manifest by now.
	Delete func(context.Context, PurgedManifest) (bool, error)
	// Stopping reports whether the process is about to stop.
	Stopping func() bool
}

// purging is a running purge.
type purging struct {
	*Records
	PurgeSteps
	tenant tenant.ID
	digest oci.Digest
	op     uuid.UUID
	force  bool
	by     meta.Cause
}

// purgeRow is a row of digest_purges.
type purgeRow struct {
	tenant tenant.ID
	digest oci.Digest
	op     uuid.UUID
	force  bool
	by     meta.Cause
}

func scanPurge(scan Scan) (purgeRow, error) {
	var p purgeRow
	err := scan(&p.tenant, digestScanner{&p.digest}, &p.op, &p.force, jsonScanner{&p.by})
	return p, err
}

func (s *Records) purging(row purgeRow, steps PurgeSteps) *purging {
	return &purging{Records: s, PurgeSteps: steps, tenant: row.tenant, digest: row.digest, op: row.op, force: row.force, by: row.by}
}

// purgeTime is how long a request waits for its purge. The janitor does what is left.
const purgeTime = 30 * time.Second

// PurgeDigest is meta.Purges', by the steps of the store.
func (s *Records) PurgeDigest(ctx context.Context, p meta.DigestPurge, steps PurgeSteps) (meta.PurgeState, error) {
	if p.By.Op == uuid.Nil {
		return meta.PurgeState{}, ErrNoOperation
	}
	named, err := s.liveNaming(ctx, p.Tenant, p.Digest, meta.MaxPurgedManifests+1)
	if err != nil {
		return meta.PurgeState{}, err
	}
	if len(named) > 0 && !p.Force {
		return meta.PurgeState{}, meta.NamedByManifests(p.Digest, named)
	}
	if err := s.beginPurge(ctx, p, named); err != nil {
		return meta.PurgeState{}, err
	}
	rows, err := list(ctx, s, p.Tenant, scanPurge, findDigestPurge, p.Tenant, p.Digest.Bytes())
	if err == nil && len(rows) > 0 { // else another process has ended it
		within, cancel := context.WithTimeout(ctx, purgeTime)
		defer cancel()
		err = s.purging(rows[0], steps).run(within)
		if within.Err() != nil && ctx.Err() == nil || errors.Is(err, errLater) || errors.Is(err, errEnded) {
			err = nil // the janitor does the rest, or has done it
		}
	}
	if err != nil {
		return meta.PurgeState{}, err
	}
	return s.FindPurge(ctx, p.Tenant, p.Digest)
}

// beginPurge writes the purge down, with its event: from here on it takes place.
func (s *Records) beginPurge(ctx context.Context, p meta.DigestPurge, named []meta.NamingManifest) error {
	by := p.By
	for _, m := range named[:min(len(named), meta.MaxChanges)] {
		by.Changes = append(by.Changes, meta.Change{Field: "manifest", Old: m.Name()})
	}
	cause, err := json.Marshal(meta.Cause{
		Op: p.By.Op, Actor: p.By.Actor, OnBehalf: p.By.OnBehalf, RequestID: p.By.RequestID, Address: p.By.Address, UserAgent: p.By.UserAgent,
	})
	if err != nil {
		return err
	}
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		if err := begin(t, by, p.Tenant, meta.DigestPurged, meta.DigestTarget(p.Digest)); err != nil {
			return err
		}
		return t.Queue(beginDigestPurge, p.Tenant, p.Digest.Bytes(), by.Op[:], p.Force, string(cause))
	})
}

// stepBackTime is for how long the janitor leaves a purge that failed alone.
const stepBackTime = time.Minute

// ContinuePurge continues a purge that was interrupted, and returns how many there were: 0
// or 1. One that fails steps back, and the next one is continued; what follows it need not
// wait for it either, so its error comes with what was done.
func (s *Records) ContinuePurge(ctx context.Context, steps PurgeSteps) (int, error) {
	var failed error
	for {
		rows, err := list(ctx, s, noTenant, scanPurge, unfinishedPurge)
		if err != nil || len(rows) == 0 {
			return 0, errors.Join(failed, err)
		}
		p := s.purging(rows[0], steps)
		err = p.run(ctx)
		if fault.KindOf(err) == fault.Conflict || errors.Is(err, errLater) || errors.Is(err, errEnded) {
			err = nil // it has ended, or the next start continues
		}
		failed = errors.Join(failed, err)
		if err == nil || ctx.Err() != nil {
			return 1, failed
		}
		if err := p.stepBack(ctx); err != nil {
			return 0, errors.Join(failed, err)
		}
	}
}

func (p *purging) stepBack(ctx context.Context) error {
	return p.engine.Write(ctx, p.tenant, func(t Tx) error {
		return t.Queue(stepBack, p.tenant, p.digest.Bytes(), p.op[:], t.Interval(stepBackTime))
	})
}

// What ends the work on a purge.
var (
	errLater = errors.New("sqlmeta: the process stops") // the janitor continues
	errEnded = errors.New("sqlmeta: the purge has ended")
)

// HoldPurge keeps a purge from ending before the transaction does, and reports whether it
// runs. It is the first lock of a step.
func HoldPurge(t Tx, id tenant.ID, d oci.Digest, op uuid.UUID) (bool, error) {
	var held oci.Digest
	return t.Find(t.Pick(findToHold, holdPurge), []any{id, d.Bytes(), op[:]}, digestScanner{&held})
}

// write runs a step.
func (p *purging) write(ctx context.Context, fn func(Tx) error) error {
	runs := false
	err := p.engine.Write(ctx, p.tenant, func(t Tx) error {
		var err error
		if runs, err = HoldPurge(t, p.tenant, p.digest, p.op); err != nil || !runs {
			return err
		}
		return fn(t)
	})
	if err == nil && !runs {
		err = errEnded
	}
	return err
}

// run leads the purge to its end. What was pushed while a round ran is ended by the next
// one; one that finds nothing is the last.
func (p *purging) run(ctx context.Context) error {
	for range meta.MaxPurgeRounds {
		if !p.force {
			named, err := p.liveNaming(ctx, p.tenant, p.digest, meta.MaxPurgedManifests+1)
			if err != nil {
				return err
			}
			if len(named) > 0 { // pushed since it was begun
				return p.giveUp(ctx, meta.NamedByManifests(p.digest, named))
			}
		}
		work, err := p.round(ctx)
		if err != nil {
			return err
		}
		if work > 0 {
			continue
		}
		// An undelete may have restored a manifest behind the step that looks for live ones.
		present, err := p.present(ctx, p.tenant, p.digest)
		if err != nil {
			return err
		}
		if !present {
			return p.end(ctx)
		}
	}
	return p.giveUp(ctx, meta.PurgeOvertaken(p.digest))
}

// round runs each step until it finds nothing, and returns how much they did.
func (p *purging) round(ctx context.Context) (int, error) {
	total := 0
	for _, step := range []func(context.Context) (int, error){p.sessions, p.manifests, p.trash, p.history, p.blob, p.named} {
		for {
			if p.Stopping() {
				return total, errLater
			}
			n, err := step(ctx)
			total += n
			if err != nil {
				return total, err
			}
			if n == 0 {
				break
			}
		}
	}
	return total, nil
}

// giveUp ends the purge before the digest has ended, for a reason.
func (p *purging) giveUp(ctx context.Context, reason error) error {
	if err := p.end(ctx); err != nil {
		return err
	}
	return reason
}

func (p *purging) end(ctx context.Context) error {
	return p.engine.Write(ctx, p.tenant, func(t Tx) error { return t.Queue(endDigestPurge, p.tenant, p.digest.Bytes(), p.op[:]) })
}
