package sqlmeta

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	nextHookedTenant = `SELECT tenant_id FROM events WHERE hooked AND tenant_id > $1 ORDER BY tenant_id LIMIT 1`

	insertWebhookQueue       = `INSERT INTO webhook_queues (tenant_id) VALUES ($1) ON CONFLICT (tenant_id) DO NOTHING`
	holdWebhookQueueSQLite   = `SELECT tenant_id FROM webhook_queues WHERE tenant_id = $1`
	holdWebhookQueuePostgres = holdWebhookQueueSQLite + ` FOR NO KEY UPDATE SKIP LOCKED`
	endWebhookQueue          = `DELETE FROM webhook_queues WHERE tenant_id = $1`

	hookedColumns = `
SELECT e.op, e.id, e.tenant_id, e.at, e.actor, e.on_behalf, e.verb, e.target, e.request_id, e.address, e.user_agent, e.changes, e.times`
	hookedEvents = hookedColumns + `
  FROM events e WHERE e.tenant_id = $1 AND e.hooked ORDER BY e.id LIMIT $2`
	earlierHooked = hookedColumns + `
  FROM tag_history h JOIN events e ON e.tenant_id = h.tenant_id AND e.op = h.op
 WHERE h.tenant_id = $1 AND h.repo_id = $2 AND h.name = $3 AND h.version < $4 AND e.hooked AND e.id > $5`

	clearHooked = `UPDATE events SET hooked = FALSE WHERE tenant_id = $1 AND id = $2`

	hookedTenantSlug = `SELECT slug FROM tenants WHERE id = $1`

	hookedRepository = `
SELECT r.id FROM registries g JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
 WHERE g.tenant_id = $1 AND g.slug = $2 AND g.state = 'active' AND r.name = $3 AND r.state = 'active'`

	hookedTagVersion = `SELECT version FROM tag_history WHERE tenant_id = $1 AND repo_id = $2 AND name = $3 AND op = $4`
	hookedManifest   = `SELECT media_type, size FROM manifests WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3`

	insertDelivery = `
INSERT INTO webhook_deliveries (tenant_id, webhook_id, op, verb, target, content_type, body, created_at, state, due, until, attempts, status, failure, response)
VALUES ($1, $2, $3, $4, $5, $6, $7, berth_now(), 'pending', berth_now(), berth_now() + CAST($8 AS interval), 0, 0, '', '')
RETURNING id`

	insertDeliveryTag = `INSERT INTO webhook_delivery_tags (tenant_id, webhook_id, tag, delivery_id) VALUES ($1, $2, $3, $4)`

	countBacklog = `
SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries WHERE tenant_id = $1 AND webhook_id = $2 AND state = 'pending' LIMIT $3) AS counted`

	oldestBacklogSQLite = `
SELECT id FROM webhook_deliveries WHERE tenant_id = $1 AND webhook_id = $2 AND state = 'pending' ORDER BY id LIMIT $3`
	oldestBacklogPostgres = oldestBacklogSQLite + ` FOR NO KEY UPDATE SKIP LOCKED`

	dropDelivery = `
UPDATE webhook_deliveries SET state = 'dead', failure = 'too many deliveries of the webhook were waiting', claim = NULL, until = berth_now() + CAST($4 AS interval)
 WHERE tenant_id = $1 AND webhook_id = $2 AND id = $3`

	deleteDeliveryTags = `DELETE FROM webhook_delivery_tags WHERE tenant_id = $1 AND webhook_id = $2 AND delivery_id = $3`
)

// MakeDeliveries implements meta.WebhookDeliveries. Transactions that move one tag wait for each
// other, so what one snapshot has of its events, and the next one has more, is in their order; the
// row of the tenant's queue keeps other processes from reading between.
func (s *Records) MakeDeliveries(ctx context.Context, after tenant.ID, limit, backlog int, render meta.HookRender) (meta.MadeDeliveries, error) {
	var made meta.MadeDeliveries
	ids, err := list(ctx, s, noTenant, func(scan Scan) (tenant.ID, error) {
		var id tenant.ID
		err := scan(&id)
		return id, err
	}, nextHookedTenant, after)
	if err != nil || len(ids) == 0 {
		return made, err
	}
	err = s.engine.Write(ctx, ids[0], func(t Tx) error {
		m := &making{Tx: t, tenant: ids[0], render: render}
		made = meta.MadeDeliveries{Tenant: m.tenant}
		held, err := m.hold()
		if err != nil || !held {
			return err
		}
		if err := m.run(limit); err != nil {
			return err
		}
		made.Events, made.Made = m.events, m.made
		for _, w := range m.webhooks {
			dropped, err := m.drop(w, backlog)
			if err != nil {
				return err
			}
			made.Dropped += dropped
		}
		if len(m.webhooks) == 0 {
			return t.Queue(endWebhookQueue, m.tenant)
		}
		return nil
	})
	return made, err
}

// making is a transaction that makes the deliveries of a tenant's events.
type making struct {
	Tx
	tenant   tenant.ID
	slug     string
	render   meta.HookRender
	webhooks []meta.Webhook
	found    []meta.HookedEvent // what there may be to make; each once
	moves    []tagMove          // of the events that are found, before which others may have to come
	events   int
	made     int
	last     time.Time // of the events
}

// tagMove is a version that a tag got.
type tagMove struct {
	movedTag
	version int64
}

type movedTag struct {
	repo int64
	tag  string
}

// hold keeps other processes from making deliveries of the tenant; false: one does.
func (m *making) hold() (bool, error) {
	if err := m.Queue(insertWebhookQueue, m.tenant); err != nil {
		return false, err
	}
	var id tenant.ID
	return m.Find(m.Pick(holdWebhookQueueSQLite, holdWebhookQueuePostgres), []any{m.tenant}, &id)
}

func (m *making) run(limit int) error {
	err := m.List(activeWebhooks, []any{m.tenant}, func(scan Scan) error {
		w, err := scanWebhook(scan)
		m.webhooks = append(m.webhooks, w)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := m.Find(hookedTenantSlug, []any{m.tenant}, &m.slug); err != nil {
		return err
	}
	if err := m.read(hookedEvents, m.tenant, limit); err != nil {
		return err
	}
	if len(m.found) == limit {
		if err := m.readEarlier(m.found[limit-1].ID); err != nil {
			return err
		}
	}
	ids := []int64{}
	for _, e := range meta.InTagOrder(m.found, limit) {
		for i := range m.webhooks {
			if err := m.make(&m.webhooks[i], &e); err != nil {
				return err
			}
		}
		ids = append(ids, e.ID)
		m.events++
		m.last = e.At
	}
	slices.Sort(ids) // the order in which all transactions lock events
	for _, id := range ids {
		if err := m.Queue(clearHooked, m.tenant, id); err != nil {
			return err
		}
	}
	return nil
}

// read adds the events of a query to those that are found.
func (m *making) read(query string, args ...any) error {
	from := len(m.found)
	err := m.List(query, args, func(scan Scan) error {
		var e meta.HookedEvent
		var err error
		e.Event, err = scanEvent(func(dest ...any) error { return scan(append([]any{&e.Op}, dest...)...) })
		if !slices.ContainsFunc(m.found, func(f meta.HookedEvent) bool { return f.ID == e.ID }) {
			m.found = append(m.found, e)
		}
		return err
	})
	for i := from; err == nil && i < len(m.found); i++ {
		err = m.complete(&m.found[i])
	}
	return err
}

// readEarlier adds the events of lower versions of the tags that are found, and so on: an event
// takes its id before it waits for the tag, so theirs may be higher than the last that was read.
func (m *making) readEarlier(last int64) error {
	asked := map[movedTag]int64{} // below which version
	for len(m.moves) > 0 {
		move := m.moves[len(m.moves)-1] // mostly the highest of its tag
		m.moves = m.moves[:len(m.moves)-1]
		if asked[move.movedTag] >= move.version {
			continue
		}
		asked[move.movedTag] = move.version
		if err := m.read(earlierHooked, m.tenant, move.repo, move.tag, move.version, last); err != nil {
			return err
		}
	}
	return nil
}

// complete reads what the row of the event does not say, if a webhook is for it.
func (m *making) complete(e *meta.HookedEvent) error {
	e.TenantSlug = m.slug
	e.Locate()
	if !slices.ContainsFunc(m.webhooks, func(w meta.Webhook) bool { return w.Wants(e) }) {
		e.Tags = nil
		return nil
	}
	if len(e.Tags) == 0 && e.Digest == "" {
		return nil
	}
	var repo int64
	if found, err := m.Find(hookedRepository, []any{m.tenant, e.Registry, e.Repository}, &repo); err != nil || !found {
		return err
	}
	for i := range e.Tags {
		tag := &e.Tags[i]
		if _, err := m.Find(hookedTagVersion, []any{m.tenant, repo, tag.Name, e.Op[:]}, &tag.Version); err != nil {
			return err
		}
		m.moves = append(m.moves, tagMove{movedTag{repo, tag.Name}, tag.Version})
	}
	if e.Digest == "" {
		return nil
	}
	_, err := m.Find(hookedManifest, []any{m.tenant, repo, e.Digest.Bytes()}, &e.MediaType, &e.Size)
	return err
}

func (m *making) make(w *meta.Webhook, e *meta.HookedEvent) error {
	if !w.Wants(e) {
		return nil
	}
	contentType, body, ok := m.render(w, e)
	if !ok {
		return nil
	}
	var id int64
	_, err := m.Find(insertDelivery, []any{m.tenant, w.ID[:], e.Op[:], e.Verb, e.Target, contentType, body, m.Interval(meta.DeliveryTime)}, &id)
	if err != nil {
		return err
	}
	for _, tag := range e.Tags {
		if err := m.Queue(insertDeliveryTag, m.tenant, w.ID[:], e.TagKey(tag.Name), id); err != nil {
			return err
		}
	}
	m.made++
	return nil
}

// drop ends the oldest deliveries of a webhook that are too many. Its event tells of the first
// ones of an hour.
func (m *making) drop(w meta.Webhook, backlog int) (int, error) {
	if m.made == 0 {
		return 0, nil
	}
	var waiting int
	if _, err := m.Find(countBacklog, []any{m.tenant, w.ID[:], backlog + m.made}, &waiting); err != nil || waiting <= backlog {
		return 0, err
	}
	var ids []int64
	err := m.List(m.Pick(oldestBacklogSQLite, oldestBacklogPostgres), []any{m.tenant, w.ID[:], waiting - backlog}, func(scan Scan) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := m.Queue(dropDelivery, m.tenant, w.ID[:], id, m.Interval(meta.DeadKept)); err != nil {
			return 0, err
		}
		if err := m.Queue(deleteDeliveryTags, m.tenant, w.ID[:], id); err != nil {
			return 0, err
		}
	}
	by := meta.Cause{
		Op: uuid.NewSHA1(w.ID, []byte(m.last.UTC().Truncate(time.Hour).Format(time.RFC3339))), Actor: w.Target(),
		Changes: []meta.Change{{Field: "dropped", New: strconv.Itoa(len(ids))}},
	}
	if err := Event(m.Tx, by, m.tenant, meta.WebhookDropped, w.Target()); err != nil && err != ErrAlreadyDone { //nolint:errorlint // Event returns it as it is
		return 0, err
	}
	return len(ids), nil
}
