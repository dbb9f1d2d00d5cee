package sqlitemeta

import (
	"context"
	"errors"
	"math"
	"strconv"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const insertEvent = `
INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id, address, changes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (tenant_id, op) DO NOTHING`

// event records who did what, right after the repository's state was read (or
// the tenant's row was made). errAlreadyDone says that an earlier attempt of
// this operation was committed: return it.
func (t *tx) event(by meta.Cause, id tenant.ID, verb, target string) error {
	if by.Op == uuid.Nil {
		return errors.New("sqlitemeta: a mutation needs an operation id")
	}
	n, err := t.exec(insertEvent, id, by.Op[:], t.now, by.Actor, verb, target, by.RequestID, by.Address, meta.EncodeChanges(by.Changes))
	if err != nil {
		return err
	}
	if n == 0 {
		return errAlreadyDone
	}
	return nil
}

const findEvent = `SELECT 1 FROM events WHERE tenant_id = ?1 AND op = ?2`

// committed is for operations whose repetition finds its subject gone:
// errAlreadyDone when an earlier attempt was committed.
func (t *tx) committed(by meta.Cause, id tenant.ID) error {
	var one int
	found, err := t.find(findEvent, []any{id, by.Op[:]}, &one)
	if err == nil && found {
		err = errAlreadyDone
	}
	return err
}

const listEvents = `
SELECT id, tenant_id, at, actor, verb, target, request_id, address, changes, times FROM events
WHERE tenant_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3`

func scanEvent(scan scan) (meta.Event, error) {
	var e meta.Event
	err := scan(&e.ID, &e.Tenant, moment{&e.At}, &e.Actor, &e.Verb, &e.Target, &e.RequestID, &e.Address, &e.Changes, &e.Times)
	return e, err
}

// ListEvents implements meta.Events.
func (s *Store) ListEvents(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Event, error) {
	before := int64(math.MaxInt64)
	if p.After != "" {
		var err error
		if before, err = strconv.ParseInt(p.After, 10, 64); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, fault.PageTokenInvalid, "the page token is not one of ours")
		}
	}
	return collect(ctx, s, scanEvent, listEvents, t, before, p.Size)
}

const oldestEvents = `
SELECT id, tenant_id, at, actor, verb, target, request_id, address, changes, times FROM events
WHERE tenant_id = ?1 AND id > ?2 AND id < ?3 ORDER BY id LIMIT ?4`

const newestEvents = `
SELECT id, tenant_id, at, actor, verb, target, request_id, address, changes, times FROM events
WHERE tenant_id = ?1 AND id > ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4`

// EventsBetween implements meta.Events.
func (s *Store) EventsBetween(ctx context.Context, t tenant.ID, b meta.Between[int64]) ([]meta.Event, error) {
	if b.Descending {
		return collect(ctx, s, scanEvent, newestEvents, t, b.After, b.Before, b.Size)
	}
	return collect(ctx, s, scanEvent, oldestEvents, t, b.After, b.Before, b.Size)
}

const countRefusal = `
INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id, address, times) VALUES (?1, ?2, ?3, ?4, ?5, ?6, '', ?7, ?8)
ON CONFLICT (tenant_id, op) DO UPDATE SET times = events.times + excluded.times`

// RecordRefusals implements meta.Events.
func (s *Store) RecordRefusals(ctx context.Context, refusals map[meta.Refusal]int64) error {
	if len(refusals) == 0 {
		return nil
	}
	return s.write(ctx, func(t *tx) error {
		for r, times := range refusals {
			count := t.countCall
			if r.Login {
				count = t.countLogin
			}
			if err := count(r, times); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) countCall(r meta.Refusal, times int64) error  { return t.count(r, "call.deny", times) }
func (t *tx) countLogin(r meta.Refusal, times int64) error { return t.count(r, "login.fail", times) }

func (t *tx) count(r meta.Refusal, verb string, times int64) error {
	op := r.Op()
	_, err := t.exec(countRefusal, r.Tenant, op[:], r.Minute.UnixMicro(), r.Actor, verb, r.Target, r.Address, times)
	return err
}
