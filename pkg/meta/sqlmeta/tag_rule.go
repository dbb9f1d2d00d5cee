package sqlmeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectTagRule = `
SELECT tenant_id, slug, registry, display_name, disabled, body, version, created_at, updated_at FROM tag_rules
WHERE tenant_id = $1`

	findTagRule  = selectTagRule + ` AND slug = $2`
	listTagRules = selectTagRule + ` AND slug > $2 ORDER BY slug LIMIT $3`

	insertTagRule = `
INSERT INTO tag_rules (tenant_id, slug, registry, display_name, disabled, body, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, 1, berth_now(), berth_now())`

	findTagRuleVersion = `SELECT version FROM tag_rules WHERE tenant_id = $1 AND slug = $2`

	updateTagRule = `
UPDATE tag_rules SET registry = $3, display_name = $4, disabled = $5, body = $6, version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug = $2`

	deleteTagRule = `DELETE FROM tag_rules WHERE tenant_id = $1 AND slug = $2`
)

// tagRuleBody is the JSON of a rule, but for what has a column.
type tagRuleBody struct {
	Repositories []string        `json:"repositories,omitempty"`
	Tags         []string        `json:"tags,omitempty"`
	Classes      []tagrule.Class `json:"classes,omitempty"`
	NoOverwrite  bool            `json:"no_overwrite,omitempty"`
	NoDelete     bool            `json:"no_delete,omitempty"`
}

func encodeTagRule(r tagrule.Rule) (string, error) {
	encoded, err := json.Marshal(tagRuleBody{r.Repositories, r.Tags, r.Classes, r.NoOverwrite, r.NoDelete})
	return string(encoded), err
}

// tagRuleScanner reads a tagRuleBody into a rule.
type tagRuleScanner struct{ to *tagrule.Rule }

// Scan implements sql.Scanner.
func (s tagRuleScanner) Scan(v any) error {
	var b tagRuleBody
	if err := (jsonScanner{&b}).Scan(v); err != nil {
		return err
	}
	*s.to = tagrule.Rule{
		Slug: s.to.Slug, Repositories: b.Repositories, Tags: b.Tags, Classes: b.Classes,
		NoOverwrite: b.NoOverwrite, NoDelete: b.NoDelete,
	}
	return nil
}

func scanTagRule(scan Scan) (meta.TagRule, error) {
	var r meta.TagRule
	err := scan(&r.Tenant, &r.Slug, &r.Registry, &r.DisplayName, &r.Disabled, tagRuleScanner{&r.Rule},
		&r.Version, timeScanner{&r.CreatedAt}, timeScanner{&r.UpdatedAt})
	return r, err
}

// FindTagRule implements meta.TagRules.
func (s *Records) FindTagRule(ctx context.Context, t tenant.ID, slug string) (meta.TagRule, error) {
	return find(ctx, s, t, noTagRule(slug), scanTagRule, findTagRule, t, slug)
}

// ListTagRules implements meta.TagRules.
func (s *Records) ListTagRules(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.TagRule, error) {
	return list(ctx, s, t, scanTagRule, listTagRules, t, p.After, p.Size)
}

// CreateTagRule implements meta.TagRules.
func (s *Records) CreateTagRule(ctx context.Context, by meta.Cause, r meta.TagRule) (meta.TagRule, error) {
	return s.writeTagRule(ctx, r, func(t Tx, body string) error {
		if err := beginAlone(t, by, r.Tenant, "tagRule.create", tagRuleTarget(r.Slug)); err != nil {
			return err
		}
		t.OnViolation("tag_rules_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "tag rule %q exists already", r.Slug))
		if err := t.Queue(insertTagRule, r.Tenant, r.Slug, r.Registry, r.DisplayName, r.Disabled, body); err != nil {
			return err
		}
		return checkLimit(t, s.limits.TagRuleLimit(), countTagRules, r.Tenant)
	})
}

// UpdateTagRule implements meta.TagRules.
func (s *Records) UpdateTagRule(ctx context.Context, by meta.Cause, r meta.TagRule) (meta.TagRule, error) {
	return s.writeTagRule(ctx, r, func(t Tx, body string) error {
		if err := beginTagRuleChange(t, by, "tagRule.update", r.Tenant, r.Slug, r.Version); err != nil {
			return err
		}
		return t.Queue(updateTagRule, r.Tenant, r.Slug, r.Registry, r.DisplayName, r.Disabled, body)
	})
}

// writeTagRule writes a rule, and waits for the writers that did not see it.
func (s *Records) writeTagRule(ctx context.Context, r meta.TagRule, write func(t Tx, body string) error) (meta.TagRule, error) {
	err := s.engine.Write(ctx, r.Tenant, func(t Tx) error {
		body, err := encodeTagRule(r.Rule)
		if err != nil {
			return err
		}
		if err := write(t, body); err != nil {
			return err
		}
		if wait := t.Pick("", changeTagRulesPostgres); wait != "" {
			return t.Queue(wait, r.Tenant)
		}
		return nil
	})
	if err != nil {
		return meta.TagRule{}, err
	}
	return s.FindTagRule(ctx, r.Tenant, r.Slug)
}

// beginTagRuleChange records the event of a change, and checks that the rule exists in
// the expected version.
func beginTagRuleChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := beginAlone(t, by, id, verb, tagRuleTarget(slug)); err != nil {
		return err
	}
	var have int64
	found, err := t.Find(findTagRuleVersion, []any{id, slug}, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return noTagRule(slug)
	}
	return checkVersion(have, version)
}

// DeleteTagRule implements meta.TagRules.
func (s *Records) DeleteTagRule(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginTagRuleChange(t, by, "tagRule.delete", id, slug, version); err != nil {
			return err
		}
		return t.Queue(deleteTagRule, id, slug)
	})
}

func tagRuleTarget(slug string) string { return "tagRules/" + slug }

func noTagRule(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no tag rule %q", slug)
}
