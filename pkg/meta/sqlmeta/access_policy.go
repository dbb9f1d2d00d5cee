package sqlmeta

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/netip"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// One statement, so that rules and version are of one moment.
const selectAccessPolicy = `
SELECT t.access_version, r.slug, r.body, r.expires_at
  FROM tenants t
  LEFT JOIN access_rules r ON r.tenant_id = t.id AND NOT r.disabled AND (r.expires_at IS NULL OR r.expires_at > berth_now())
 WHERE t.id = $1
 ORDER BY r.slug`

// AccessPolicy implements meta.AccessPolicies.
func (s *Records) AccessPolicy(ctx context.Context, t tenant.ID) (meta.AccessPolicy, error) {
	var p meta.AccessPolicy
	found := false
	err := s.engine.Read(ctx, t, selectAccessPolicy, []any{t}, func() { p, found = meta.AccessPolicy{}, false }, func(scan Scan) error {
		var slug sql.NullString
		var r access.Rule
		found = true
		if err := scan(&p.Version, &slug, ruleScanner{&r}, timeScanner{&r.Until}); err != nil {
			return err
		}
		if r.Slug = slug.String; slug.Valid {
			p.Rules = append(p.Rules, r)
		}
		return nil
	})
	switch {
	case err != nil:
		return meta.AccessPolicy{}, err
	case !found:
		return meta.AccessPolicy{}, fault.New(fault.NotFound, fault.ResourceUnknown, "tenant not found")
	default:
		return p, nil
	}
}

// ruleBody is the JSON of a rule, but for what has a column. Absent lists are empty.
type ruleBody struct {
	Deny         bool           `json:"deny,omitempty"`
	Principals   []string       `json:"principals,omitempty"`
	Registries   []string       `json:"registries,omitempty"`
	Repositories []string       `json:"repositories,omitempty"`
	Actions      string         `json:"actions"` // access.Actions.String
	Networks     []netip.Prefix `json:"networks,omitempty"`
}

func encodeRule(r access.Rule) (string, error) {
	encoded, err := json.Marshal(ruleBody{
		Deny: r.Deny, Principals: r.Principals, Registries: r.Registries, Repositories: r.Repositories,
		Actions: r.Actions.String(), Networks: r.Networks,
	})
	return string(encoded), err
}

// ruleScanner reads a ruleBody into a rule; NULL leaves it as it is.
type ruleScanner struct{ to *access.Rule }

// Scan implements sql.Scanner.
func (s ruleScanner) Scan(v any) error {
	if v == nil {
		return nil
	}
	var b ruleBody
	if err := (jsonScanner{&b}).Scan(v); err != nil {
		return err
	}
	s.to.Deny, s.to.Principals, s.to.Registries, s.to.Repositories = b.Deny, b.Principals, b.Registries, b.Repositories
	s.to.Actions, s.to.Networks = access.RuleActions(b.Actions), b.Networks
	return nil
}

// The lists of a ruleBody that name other resources.
const (
	rulePrincipals = "principals"
	ruleRegistries = "registries"
)
