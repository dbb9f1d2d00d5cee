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
	selectPromotionGate = `
SELECT tenant_id, slug, registry, display_name, disabled, body, version, created_at, updated_at FROM promotion_gates
WHERE tenant_id = $1`

	findPromotionGate  = selectPromotionGate + ` AND slug = $2`
	listPromotionGates = selectPromotionGate + ` AND slug > $2 ORDER BY slug LIMIT $3`

	insertPromotionGate = `
INSERT INTO promotion_gates (tenant_id, slug, registry, display_name, disabled, body, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, 1, berth_now(), berth_now())`

	findPromotionGateVersion = `SELECT version FROM promotion_gates WHERE tenant_id = $1 AND slug = $2`

	updatePromotionGate = `
UPDATE promotion_gates SET registry = $3, display_name = $4, disabled = $5, body = $6, version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug = $2`

	deletePromotionGate = `DELETE FROM promotion_gates WHERE tenant_id = $1 AND slug = $2`
)

// promotionGateBody is the JSON of a gate, but for what has a column.
type promotionGateBody struct {
	Repositories  []string              `json:"repositories,omitempty"`
	Tags          []string              `json:"tags,omitempty"`
	Keys          []string              `json:"keys,omitempty"`
	Identities    []meta.SignerIdentity `json:"identities,omitempty"`
	TrustedRoot   string                `json:"trusted_root,omitempty"`
	ArtifactTypes []string              `json:"artifact_types,omitempty"`
	Annotations   map[string]string     `json:"annotations,omitempty"`
	Labels        map[string]string     `json:"labels,omitempty"`
	MinAge        time.Duration         `json:"min_age,omitempty"`
	AnotherCaller bool                  `json:"another_caller,omitempty"`
}

func encodePromotionGate(g meta.PromotionGate) (string, error) {
	encoded, err := json.Marshal(promotionGateBody{
		Repositories: g.Repositories, Tags: g.Tags, Keys: g.Keys, Identities: g.Identities, TrustedRoot: g.TrustedRoot,
		ArtifactTypes: g.ArtifactTypes, Annotations: g.Annotations, Labels: g.Labels, MinAge: g.MinAge, AnotherCaller: g.AnotherCaller,
	})
	return string(encoded), err
}

func scanPromotionGate(scan Scan) (meta.PromotionGate, error) {
	var g meta.PromotionGate
	var b promotionGateBody
	err := scan(&g.Tenant, &g.Slug, &g.Registry, &g.DisplayName, &g.Disabled, jsonScanner{&b},
		&g.Version, timeScanner{&g.CreatedAt}, timeScanner{&g.UpdatedAt})
	g.Repositories, g.Tags, g.Keys, g.ArtifactTypes, g.Annotations = b.Repositories, b.Tags, b.Keys, b.ArtifactTypes, b.Annotations
	g.Identities, g.TrustedRoot, g.Labels, g.MinAge, g.AnotherCaller = b.Identities, b.TrustedRoot, b.Labels, b.MinAge, b.AnotherCaller
	return g, err
}

// FindPromotionGate implements meta.PromotionGates.
func (s *Records) FindPromotionGate(ctx context.Context, t tenant.ID, slug string) (meta.PromotionGate, error) {
	return find(ctx, s, t, noPromotionGate(slug), scanPromotionGate, findPromotionGate, t, slug)
}

// ListPromotionGates implements meta.PromotionGates.
func (s *Records) ListPromotionGates(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.PromotionGate, error) {
	return list(ctx, s, t, scanPromotionGate, listPromotionGates, t, p.After, p.Size)
}

// CreatePromotionGate implements meta.PromotionGates.
func (s *Records) CreatePromotionGate(ctx context.Context, by meta.Cause, g meta.PromotionGate) (meta.PromotionGate, error) {
	return s.writePromotionGate(ctx, g, func(t Tx, body string) error {
		if err := beginAlone(t, by, g.Tenant, "promotionGate.create", promotionGateTarget(g.Slug)); err != nil {
			return err
		}
		t.OnViolation("promotion_gates_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "promotion gate %q exists already", g.Slug))
		if err := t.Queue(insertPromotionGate, g.Tenant, g.Slug, g.Registry, g.DisplayName, g.Disabled, body); err != nil {
			return err
		}
		return checkLimit(t, s.limits.PromotionGateLimit(), countPromotionGates, g.Tenant)
	})
}

// UpdatePromotionGate implements meta.PromotionGates.
func (s *Records) UpdatePromotionGate(ctx context.Context, by meta.Cause, g meta.PromotionGate) (meta.PromotionGate, error) {
	return s.writePromotionGate(ctx, g, func(t Tx, body string) error {
		if err := beginPromotionGateChange(t, by, "promotionGate.update", g.Tenant, g.Slug, g.Version); err != nil {
			return err
		}
		return t.Queue(updatePromotionGate, g.Tenant, g.Slug, g.Registry, g.DisplayName, g.Disabled, body)
	})
}

// writePromotionGate writes a gate, and waits for the tags in flight that did not see it.
func (s *Records) writePromotionGate(ctx context.Context, g meta.PromotionGate, write func(t Tx, body string) error) (meta.PromotionGate, error) {
	err := s.engine.Write(ctx, g.Tenant, func(t Tx) error {
		body, err := encodePromotionGate(g)
		if err != nil {
			return err
		}
		if err := write(t, body); err != nil {
			return err
		}
		if wait := t.Pick("", changePromotionGatesPostgres); wait != "" {
			return t.Queue(wait, g.Tenant)
		}
		return nil
	})
	if err != nil {
		return meta.PromotionGate{}, err
	}
	return s.FindPromotionGate(ctx, g.Tenant, g.Slug)
}

// beginPromotionGateChange records the event of a change, and checks that the gate exists in
// the expected version.
func beginPromotionGateChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := beginAlone(t, by, id, verb, promotionGateTarget(slug)); err != nil {
		return err
	}
	var have int64
	found, err := t.Find(findPromotionGateVersion, []any{id, slug}, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return noPromotionGate(slug)
	}
	return checkVersion(have, version)
}

// DeletePromotionGate implements meta.PromotionGates.
func (s *Records) DeletePromotionGate(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginPromotionGateChange(t, by, "promotionGate.delete", id, slug, version); err != nil {
			return err
		}
		return t.Queue(deletePromotionGate, id, slug)
	})
}

func promotionGateTarget(slug string) string { return "promotionGates/" + slug }

func noPromotionGate(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no promotion gate %q", slug)
}

// ActivePromotionGates finds the gates of a tenant, in the transaction of a tag.
const ActivePromotionGates = `SELECT slug, created_at, version FROM promotion_gates WHERE tenant_id = $1 AND NOT disabled ORDER BY slug`

// As those of tag rules.
const (
	SharePromotionGatesPostgres  = `SELECT pg_advisory_xact_lock_shared(55, hashint8($1))`
	changePromotionGatesPostgres = `SELECT pg_advisory_xact_lock(55, hashint8($1))`
)

// ReadGateVersions reads the rows of ActivePromotionGates.
func ReadGateVersions(to *meta.GateVersions) func(Scan) error {
	return func(scan Scan) error {
		var g meta.GateVersion
		err := scan(&g.Slug, timeScanner{&g.CreatedAt}, &g.Version)
		*to = append(*to, g)
		return err
	}
}
