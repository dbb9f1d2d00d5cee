package sqlmeta

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectPullRule = `
SELECT tenant_id, slug, registry, display_name, disabled, body, version, created_at, updated_at FROM pull_rules
WHERE tenant_id = $1`

	findPullRule  = selectPullRule + ` AND slug = $2`
	listPullRules = selectPullRule + ` AND slug > $2 ORDER BY slug LIMIT $3`

	insertPullRule = `
INSERT INTO pull_rules (tenant_id, slug, registry, display_name, disabled, body, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, 1, berth_now(), berth_now())`

	findPullRuleVersion = `SELECT version FROM pull_rules WHERE tenant_id = $1 AND slug = $2`

	updatePullRule = `
UPDATE pull_rules SET registry = $3, display_name = $4, disabled = $5, body = $6, version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug = $2`

	deletePullRule = `DELETE FROM pull_rules WHERE tenant_id = $1 AND slug = $2`

	raisePullRulesVersion = `UPDATE tenants SET pull_rules_version = pull_rules_version + 1 WHERE id = $1`

	// One statement, so that rules and version are of one moment.
	selectPullPolicy = `
SELECT t.pull_rules_version, r.slug, r.registry, r.body
  FROM tenants t LEFT JOIN pull_rules r ON r.tenant_id = t.id AND NOT r.disabled
 WHERE t.id = $1
 ORDER BY r.slug`
)

// pullRuleBody is the JSON of a rule, but for what has a column.
type pullRuleBody struct {
	Repositories  []string              `json:"repositories,omitempty"`
	Tags          []string              `json:"tags,omitempty"`
	Keys          []string              `json:"keys,omitempty"`
	Identities    []meta.SignerIdentity `json:"identities,omitempty"`
	TrustedRoot   string                `json:"trusted_root,omitempty"`
	ArtifactTypes []string              `json:"artifact_types,omitempty"`
	Scan          meta.ScanRequirement  `json:"scan,omitzero"`
	MinAge        time.Duration         `json:"min_age,omitempty"`
	Enforced      bool                  `json:"enforced,omitempty"`
}

func encodePullRule(r meta.PullRule) (string, error) {
	encoded, err := json.Marshal(pullRuleBody{r.Repositories, r.Tags, r.Keys, r.Identities, r.TrustedRoot, r.ArtifactTypes, r.Scan, r.MinAge, r.Enforced})
	return string(encoded), err
}

func (b pullRuleBody) fill(r *meta.PullRule) {
	r.Repositories, r.Tags, r.Keys, r.ArtifactTypes = b.Repositories, b.Tags, b.Keys, b.ArtifactTypes
	r.Identities, r.TrustedRoot, r.Scan, r.MinAge, r.Enforced = b.Identities, b.TrustedRoot, b.Scan, b.MinAge, b.Enforced
}

func scanPullRule(scan Scan) (meta.PullRule, error) {
	var r meta.PullRule
	var b pullRuleBody
	err := scan(&r.Tenant, &r.Slug, &r.Registry, &r.DisplayName, &r.Disabled, jsonScanner{&b},
		&r.Version, timeScanner{&r.CreatedAt}, timeScanner{&r.UpdatedAt})
	b.fill(&r)
	return r, err
}

// PullPolicy implements meta.PullPolicyFinder.
func (s *Records) PullPolicy(ctx context.Context, t tenant.ID) (meta.PullPolicy, error) {
	var p meta.PullPolicy
	found := false
	err := s.engine.Read(ctx, t, selectPullPolicy, []any{t}, func() { p, found = meta.PullPolicy{}, false }, func(scan Scan) error {
		found = true
		var slug, registry sql.NullString
		var body []byte
		if err := scan(&p.Version, &slug, &registry, &body); err != nil || !slug.Valid {
			return err
		}
		r := meta.PullRule{Tenant: t, Slug: slug.String, Registry: registry.String}
		var b pullRuleBody
		if err := json.Unmarshal(body, &b); err != nil {
			return err
		}
		b.fill(&r)
		p.Rules = append(p.Rules, r)
		return nil
	})
	if err == nil && !found {
		err = fault.New(fault.NotFound, fault.ResourceUnknown, "tenant not found")
	}
	return p, err
}

// FindPullRule implements meta.PullRules.
func (s *Records) FindPullRule(ctx context.Context, t tenant.ID, slug string) (meta.PullRule, error) {
	return find(ctx, s, t, noPullRule(slug), scanPullRule, findPullRule, t, slug)
}

// ListPullRules implements meta.PullRules.
func (s *Records) ListPullRules(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.PullRule, error) {
	return list(ctx, s, t, scanPullRule, listPullRules, t, p.After, p.Size)
}

// CreatePullRule implements meta.PullRules.
func (s *Records) CreatePullRule(ctx context.Context, by meta.Cause, r meta.PullRule) (meta.PullRule, error) {
	return s.writePullRule(ctx, r, func(t Tx, body string) error {
		if err := beginAlone(t, by, r.Tenant, "pullRule.create", pullRuleTarget(r.Slug)); err != nil {
			return err
		}
		t.OnViolation("pull_rules_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "pull rule %q exists already", r.Slug))
		if err := t.Queue(insertPullRule, r.Tenant, r.Slug, r.Registry, r.DisplayName, r.Disabled, body); err != nil {
			return err
		}
		if err := t.Queue(raisePullRulesVersion, r.Tenant); err != nil {
			return err
		}
		return checkLimit(t, s.limits.PullRuleLimit(), countPullRules, r.Tenant)
	})
}

// UpdatePullRule implements meta.PullRules.
func (s *Records) UpdatePullRule(ctx context.Context, by meta.Cause, r meta.PullRule) (meta.PullRule, error) {
	return s.writePullRule(ctx, r, func(t Tx, body string) error {
		if err := beginPullRuleChange(t, by, "pullRule.update", r.Tenant, r.Slug, r.Version); err != nil {
			return err
		}
		return t.Queue(updatePullRule, r.Tenant, r.Slug, r.Registry, r.DisplayName, r.Disabled, body)
	})
}

func (s *Records) writePullRule(ctx context.Context, r meta.PullRule, write func(t Tx, body string) error) (meta.PullRule, error) {
	err := s.engine.Write(ctx, r.Tenant, func(t Tx) error {
		body, err := encodePullRule(r)
		if err != nil {
			return err
		}
		return write(t, body)
	})
	if err != nil {
		return meta.PullRule{}, err
	}
	return s.FindPullRule(ctx, r.Tenant, r.Slug)
}

// beginPullRuleChange records the event of a change, checks that the rule exists in the
// expected version, and grows the version of the tenant's rules.
func beginPullRuleChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := beginAlone(t, by, id, verb, pullRuleTarget(slug)); err != nil {
		return err
	}
	var have int64
	found, err := t.Find(findPullRuleVersion, []any{id, slug}, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return noPullRule(slug)
	}
	if err := checkVersion(have, version); err != nil {
		return err
	}
	return t.Queue(raisePullRulesVersion, id)
}

// DeletePullRule implements meta.PullRules.
func (s *Records) DeletePullRule(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginPullRuleChange(t, by, "pullRule.delete", id, slug, version); err != nil {
			return err
		}
		return t.Queue(deletePullRule, id, slug)
	})
}

func pullRuleTarget(slug string) string { return "pullRules/" + slug }

func noPullRule(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no pull rule %q", slug)
}
