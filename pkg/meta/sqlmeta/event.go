package sqlmeta

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectEvent = `
SELECT id, tenant_id, at, actor, on_behalf, verb, target, request_id, address, user_agent, changes, times FROM events
WHERE tenant_id = $1`

	listEvents   = selectEvent + ` AND id < $2 ORDER BY id DESC LIMIT $3`
	oldestEvents = selectEvent + ` AND id > $2 AND id < $3 ORDER BY id LIMIT $4`
	newestEvents = selectEvent + ` AND id > $2 AND id < $3 ORDER BY id DESC LIMIT $4`

	countRefusal = `
INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id, address, user_agent, times, pending, hooked)
VALUES ($1, $2, $3, $4, $5, $6, '', $7, $8, $9, ` + HasSink + `, ` + HasWebhook + `)
ON CONFLICT (tenant_id, op) DO UPDATE SET times = events.times + excluded.times, pending = excluded.pending`
)

func scanEvent(scan Scan) (meta.Event, error) {
	var e meta.Event
	err := scan(&e.ID, &e.Tenant, timeScanner{&e.At}, &e.Actor, &e.OnBehalf, &e.Verb, &e.Target, &e.RequestID, &e.Address, &e.UserAgent, &e.Changes, &e.Times)
	return e, err
}

// ListEvents implements meta.Events.
func (s *Records) ListEvents(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Event, error) {
	before := int64(math.MaxInt64)
	if p.After != "" {
		var err error
		if before, err = strconv.ParseInt(p.After, 10, 64); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, fault.PageTokenInvalid, "the page token is not from this list")
		}
	}
	return list(ctx, s, t, scanEvent, listEvents, t, before, p.Size)
}

// EventsBetween implements meta.Events.
func (s *Records) EventsBetween(ctx context.Context, t tenant.ID, b meta.Between[int64]) ([]meta.Event, error) {
	query := oldestEvents
	if b.Descending {
		query = newestEvents
	}
	return list(ctx, s, t, scanEvent, query, t, b.After, b.Before, b.Size)
}

// RecordEvent implements meta.Events.
func (s *Records) RecordEvent(ctx context.Context, by meta.Cause, verb, target string) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error { return Event(t, by, meta.Deployment, verb, target) })
}

// RecordRefusals implements meta.Events, tenant by tenant. It locks the rows of a
// tenant in the order of their operations. What fails of one tenant keeps out no other's.
func (s *Records) RecordRefusals(ctx context.Context, refusals map[meta.Refusal]int64) error {
	byTenant := map[tenant.ID][]meta.Refusal{}
	for r := range refusals {
		byTenant[r.Tenant] = append(byTenant[r.Tenant], r)
	}
	var failed []error
	for id, rows := range byTenant {
		slices.SortFunc(rows, func(a, b meta.Refusal) int { return strings.Compare(a.Op().String(), b.Op().String()) })
		err := s.engine.Write(ctx, id, func(t Tx) error {
			for _, r := range rows {
				verb := "call.deny"
				if r.Login {
					verb = "login.fail"
				}
				op := r.Op()
				if err := t.Queue(countRefusal, r.Tenant, op[:], t.Time(r.Minute), r.Actor, verb, r.Target, r.Address, r.UserAgent, refusals[r]); err != nil {
					return err
				}
			}
			return nil
		})
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
