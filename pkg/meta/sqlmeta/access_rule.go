package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectAccessRule = `
SELECT tenant_id, slug, display_name, disabled, body, expires_at, version, created_at, updated_at FROM access_rules
WHERE tenant_id = $1`

	findAccessRule  = selectAccessRule + ` AND slug = $2`
	listAccessRules = selectAccessRule + ` AND slug > $2 ORDER BY slug LIMIT $3`

	insertAccessRule = `
INSERT INTO access_rules (tenant_id, slug, display_name, disabled, body, expires_at, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, 1, berth_now(), berth_now())`

	findAccessRuleVersion = `SELECT version FROM access_rules WHERE tenant_id = $1 AND slug = $2`

	updateAccessRule = `
UPDATE access_rules SET display_name = $3, disabled = $4, body = $5, expires_at = $6, version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug = $2`

	deleteAccessRule = `DELETE FROM access_rules WHERE tenant_id = $1 AND slug = $2`

	raiseAccessVersion = `UPDATE tenants SET access_version = access_version + 1 WHERE id = $1`
)

func scanAccessRule(scan Scan) (meta.AccessRule, error) {
	var r meta.AccessRule
	err := scan(&r.Tenant, &r.Slug, &r.DisplayName, &r.Disabled, ruleScanner{&r.Rule}, timeScanner{&r.Until},
		&r.Version, timeScanner{&r.CreatedAt}, timeScanner{&r.UpdatedAt})
	return r, err
}

// FindAccessRule implements meta.AccessRules.
func (s *Records) FindAccessRule(ctx context.Context, t tenant.ID, slug string) (meta.AccessRule, error) {
	return find(ctx, s, t, noAccessRule(slug), scanAccessRule, findAccessRule, t, slug)
}

// ListAccessRules implements meta.AccessRules.
func (s *Records) ListAccessRules(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.AccessRule, error) {
	return list(ctx, s, t, scanAccessRule, listAccessRules, t, p.After, p.Size)
}

// CreateAccessRule implements meta.AccessRules.
func (s *Records) CreateAccessRule(ctx context.Context, by meta.Cause, r meta.AccessRule) (meta.AccessRule, error) {
	err := s.engine.Write(ctx, r.Tenant, func(t Tx) error {
		body, err := encodeRule(r.Rule)
		if err != nil {
			return err
		}
		if err := beginAlone(t, by, r.Tenant, "accessRule.create", accessRuleTarget(r.Slug)); err != nil {
			return err
		}
		if err := checkRuleNames(t, r); err != nil {
			return err
		}
		t.OnViolation("access_rules_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "access rule %q exists already", r.Slug))
		if err := t.Queue(insertAccessRule, r.Tenant, r.Slug, r.DisplayName, r.Disabled, body, t.Time(r.Until)); err != nil {
			return err
		}
		if err := t.Queue(raiseAccessVersion, r.Tenant); err != nil {
			return err
		}
		return checkLimit(t, s.limits.AccessRuleLimit(), countAccessRules, r.Tenant)
	})
	if err != nil {
		return meta.AccessRule{}, err
	}
	return s.FindAccessRule(ctx, r.Tenant, r.Slug)
}

// beginAccessRuleChange records the event of a change, checks that the rule exists in
// the expected version, and grows the version of the tenant's rules.
func beginAccessRuleChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := beginAlone(t, by, id, verb, accessRuleTarget(slug)); err != nil {
		return err
	}
	var have int64
	found, err := t.Find(findAccessRuleVersion, []any{id, slug}, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return noAccessRule(slug)
	}
	if err := checkVersion(have, version); err != nil {
		return err
	}
	return t.Queue(raiseAccessVersion, id)
}

// UpdateAccessRule implements meta.AccessRules.
func (s *Records) UpdateAccessRule(ctx context.Context, by meta.Cause, r meta.AccessRule) (meta.AccessRule, error) {
	err := s.engine.Write(ctx, r.Tenant, func(t Tx) error {
		body, err := encodeRule(r.Rule)
		if err != nil {
			return err
		}
		if err := beginAccessRuleChange(t, by, "accessRule.update", r.Tenant, r.Slug, r.Version); err != nil {
			return err
		}
		if err := checkRuleNames(t, r); err != nil {
			return err
		}
		return t.Queue(updateAccessRule, r.Tenant, r.Slug, r.DisplayName, r.Disabled, body, t.Time(r.Until))
	})
	if err != nil {
		return meta.AccessRule{}, err
	}
	return s.FindAccessRule(ctx, r.Tenant, r.Slug)
}

// DeleteAccessRule implements meta.AccessRules.
func (s *Records) DeleteAccessRule(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginAccessRuleChange(t, by, "accessRule.delete", id, slug, version); err != nil {
			return err
		}
		return t.Queue(deleteAccessRule, id, slug)
	})
}

func accessRuleTarget(slug string) string { return "accessRules/" + slug }

func noAccessRule(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no access rule %q", slug)
}
