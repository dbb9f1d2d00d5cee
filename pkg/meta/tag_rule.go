package meta

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// TagRule is a tag rule of a tenant with what is kept about it.
type TagRule struct {
	tagrule.Rule

	Tenant      tenant.ID
	Registry    string // slug of the one it is for; empty: every registry of the tenant, later ones too
	DisplayName string
	Disabled    bool // it does not count
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// TagRules keeps tag rules; absence is fault.ResourceUnknown. A rule counts for every
// write that ends after the rule was made, also of tags that exist: making or changing
// one waits for the writes in flight. It may name a registry that was deleted since, and
// counts for it again when that comes back.
type TagRules interface {
	CreateTagRule(ctx context.Context, by Cause, r TagRule) (TagRule, error)
	FindTagRule(ctx context.Context, t tenant.ID, slug string) (TagRule, error)
	// ListTagRules pages by slug.
	ListTagRules(ctx context.Context, t tenant.ID, p Page) ([]TagRule, error)
	// UpdateTagRule changes everything but the slug; Version as in UpdateTenant.
	UpdateTagRule(ctx context.Context, by Cause, r TagRule) (TagRule, error)
	DeleteTagRule(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
}

// TagGuard collects what rules protect of the tags that a transaction overwrites or
// deletes. The zero value has no rules and protects nothing.
type TagGuard struct {
	rules tagrule.Rules
	op    tagrule.Op
	found []protectedTags
}

// protectedTags are those of one rule.
type protectedTags struct {
	rule  string
	first string
	tags  int
}

// GuardTags is the guard of one repository's tags.
func GuardTags(rules tagrule.Rules, o tagrule.Op, repository string) *TagGuard {
	return &TagGuard{rules: rules.For(o, repository), op: o}
}

// Idle reports whether no rule is for the repository: then tags need not be looked up.
func (g *TagGuard) Idle() bool { return len(g.rules) == 0 }

// In is the same guard for another repository of the same operation.
func (g *TagGuard) In(rules tagrule.Rules, repository string) {
	g.rules = rules.For(g.op, repository)
}

// Add adds a tag that the transaction overwrites or deletes.
func (g *TagGuard) Add(tag string) {
	r, protected := g.rules.Selecting(tag)
	if !protected {
		return
	}
	for i := range g.found {
		if g.found[i].rule == r.Slug {
			g.found[i].tags++
			return
		}
	}
	g.found = append(g.found, protectedTags{rule: r.Slug, first: tag, tags: 1})
}

// Refusal is the error of the transaction: fault.DeniedReason, which names the rule and
// how many tags are protected, or nil without any.
func (g *TagGuard) Refusal() error {
	if len(g.found) == 0 {
		return nil
	}
	first, all := g.found[0], 0
	for _, f := range g.found {
		all += f.tags
	}
	others := " is"
	switch {
	case all == 2:
		others = " and 1 other are"
	case all > 2:
		others = fmt.Sprintf(" and %d others are", all-1)
	}
	return fault.New(fault.Denied, fault.DeniedReason, "tag %s%s protected by tag rule %s (%s)", first.first, others, first.rule, g.op).
		WithDetail(map[string]any{"tag_rule": first.rule, "tag": first.first, "protected_tags": all})
}

// Decide is Refusal, unless the cause overrides tag rules: then it returns what its event
// says of them.
func (g *TagGuard) Decide(by Cause) ([]Change, error) {
	if !by.OverrideTagRules {
		return nil, g.Refusal()
	}
	var changes []Change
	for _, f := range g.found {
		changes = append(changes, Change{Field: "tag_rule " + f.rule, Old: fmt.Sprintf("protects %d, such as %s", f.tags, f.first), New: "overridden"})
	}
	return changes, nil
}
