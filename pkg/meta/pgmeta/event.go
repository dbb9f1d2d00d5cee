package pgmeta

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

var errNoOperation = errors.New("pgmeta: a mutation needs an operation id")

const insertEvent = `
INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id, address, changes) VALUES ($1, $2, berth_now(), $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant_id, op) DO NOTHING`

// event records who did what to what a tenant owns, right after the tenant's row
// was locked or made. errAlreadyDone says that an earlier attempt of
// this operation was committed: return it.
func (t *tx) event(by meta.Cause, id tenant.ID, verb, target string) error {
	if by.Op == uuid.Nil {
		return errNoOperation
	}
	n, err := t.exec(insertEvent, id, pgUUID(by.Op), by.Actor, verb, target, by.RequestID, by.Address, meta.EncodeChanges(by.Changes))
	if err != nil {
		return err
	}
	if n == 0 {
		return errAlreadyDone
	}
	return nil
}

const findEvent = `SELECT 1 FROM events WHERE tenant_id = $1 AND op = $2`

// done is for operations whose repetition finds its subject gone:
// errAlreadyDone when an earlier attempt was committed.
func (t *tx) done(by meta.Cause, id tenant.ID) error {
	var one int
	found, err := t.find(findEvent, []any{id, pgUUID(by.Op)}, &one)
	if err == nil && found {
		err = errAlreadyDone
	}
	return err
}

const listEvents = `
SELECT id, tenant_id, at, actor, verb, target, request_id, address, changes, times FROM events
WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`

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
	return collect(ctx, s, t, scanEvent, listEvents, t, before, p.Size)
}

const oldestEvents = `
SELECT id, tenant_id, at, actor, verb, target, request_id, address, changes, times FROM events
WHERE tenant_id = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4`

const newestEvents = `
SELECT id, tenant_id, at, actor, verb, target, request_id, address, changes, times FROM events
WHERE tenant_id = $1 AND id > $2 AND id < $3 ORDER BY id DESC LIMIT $4`

// EventsBetween implements meta.Events.
func (s *Store) EventsBetween(ctx context.Context, t tenant.ID, b meta.Between[int64]) ([]meta.Event, error) {
	if b.Descending {
		return collect(ctx, s, t, scanEvent, newestEvents, t, b.After, b.Before, b.Size)
	}
	return collect(ctx, s, t, scanEvent, oldestEvents, t, b.After, b.Before, b.Size)
}

const countRefusal = `
INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id, address, times) VALUES ($1, $2, $3, $4, $5, $6, '', $7, $8)
ON CONFLICT (tenant_id, op) DO UPDATE SET times = events.times + excluded.times`

// RecordRefusals implements meta.Events, tenant by tenant: rows of one are locked
// in the order of their operations.
func (s *Store) RecordRefusals(ctx context.Context, refusals map[meta.Refusal]int64) error {
	byTenant := map[tenant.ID][]meta.Refusal{}
	for r := range refusals {
		byTenant[r.Tenant] = append(byTenant[r.Tenant], r)
	}
	for id, rows := range byTenant {
		slices.SortFunc(rows, func(a, b meta.Refusal) int { return strings.Compare(a.Op().String(), b.Op().String()) })
		err := s.write(ctx, id, func(t *tx) error {
			for _, r := range rows {
				if r.Login {
					t.count(r, "login.fail", refusals[r])
				} else {
					t.count(r, "call.deny", refusals[r])
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) count(r meta.Refusal, verb string, times int64) {
	t.queue(countRefusal, r.Tenant, pgUUID(r.Op()), r.Minute, r.Actor, verb, r.Target, r.Address, times)
}
