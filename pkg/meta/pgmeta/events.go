package pgmeta

import (
	"context"
	"math"
	"strconv"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const listEvents = `
SELECT id, tenant_id, at, actor, verb, target, request_id FROM events
WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`

func scanEvent(scan scan) (meta.Event, error) {
	var e meta.Event
	err := scan(&e.ID, &e.Tenant, moment{&e.At}, &e.Actor, &e.Verb, &e.Target, &e.RequestID)
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
