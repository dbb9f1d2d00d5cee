// Package evaluate asks retention policies about the repositories of a tenant. What would
// be deleted, what is, and why something stays have one answer.
package evaluate

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Meta is the part of meta.Store that evaluations need.
type Meta interface {
	FindRegistry(ctx context.Context, t tenant.ID, slug string) (meta.Registry, error)
	ListRegistries(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Registry, error)
	ListRepositories(ctx context.Context, t tenant.ID, r tenant.RegistryID, p meta.Page) ([]string, error)
	ListRetentionPolicies(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.RetentionPolicy, error)
	ListTagRules(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.TagRule, error)
	RetentionContent(ctx context.Context, r meta.Repo) (retention.Content, error)
	FindPullAccounting(ctx context.Context) (meta.PullAccounting, error)
}

// Tenant has the policies of a tenant and its tag rules, as they were when it was opened.
type Tenant struct {
	Policies []meta.RetentionPolicy // in the order of their slugs

	meta  Meta
	id    tenant.ID
	rules []meta.TagRule
}

// page is how many rows are read at a time.
const page = 500

// Open reads the policies and tag rules of a tenant.
func Open(ctx context.Context, m Meta, id tenant.ID) (*Tenant, error) {
	t := &Tenant{meta: m, id: id}
	var err error
	t.Policies, err = all(ctx, id, m.ListRetentionPolicies, func(p meta.RetentionPolicy) string { return p.Slug })
	if err != nil {
		return nil, err
	}
	t.rules, err = all(ctx, id, m.ListTagRules, func(r meta.TagRule) string { return r.Slug })
	return t, err
}

// all reads all pages of a list.
func all[R any](ctx context.Context, id tenant.ID, list func(context.Context, tenant.ID, meta.Page) ([]R, error), key func(R) string) ([]R, error) {
	var rows []R
	for after := ""; ; {
		some, err := list(ctx, id, meta.Page{After: after, Size: page})
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
		if len(some) < page {
			return rows, nil
		}
		after = key(some[len(some)-1])
	}
}

// Place is a repository, by the slug of its registry and its name.
type Place struct{ Registry, Name string }

// After reports whether p comes after another place.
func (p Place) After(other Place) bool {
	return p.Registry > other.Registry || p.Registry == other.Registry && p.Name > other.Name
}

// Walk calls each for the repositories after a place that a policy decides about, in order,
// until it returns false. It passes over registries that are read-only.
func (t *Tenant) Walk(ctx context.Context, p meta.RetentionPolicy, after Place, each func(meta.Repo, Place) (bool, error)) error {
	registries, err := t.registries(ctx, p.Registry)
	if err != nil {
		return err
	}
	for _, g := range registries {
		if g.Slug < after.Registry || g.Settings.ReadOnly {
			continue
		}
		last := ""
		if g.Slug == after.Registry {
			last = after.Name
		}
		for more := true; more; {
			names, err := t.meta.ListRepositories(ctx, t.id, g.ID, meta.Page{After: last, Size: page})
			if err != nil {
				return err
			}
			for _, name := range names {
				last = name
				if !meta.RetentionPolicyFor(t.Policies, p, g.Slug, name) {
					continue
				}
				if more, err := each(meta.Repo{Tenant: t.id, Registry: g.ID, Name: name}, Place{g.Slug, name}); err != nil || !more {
					return err
				}
			}
			more = len(names) == page
		}
	}
	return nil
}

// registries are all of the tenant, or the one that is named, if it is there.
func (t *Tenant) registries(ctx context.Context, slug string) ([]meta.Registry, error) {
	if slug == "" {
		return all(ctx, t.id, t.meta.ListRegistries, func(g meta.Registry) string { return g.Slug })
	}
	g, err := t.meta.FindRegistry(ctx, t.id, slug)
	if fault.Is(err, fault.ResourceUnknown) {
		return nil, nil
	}
	return []meta.Registry{g}, err
}

// Evaluation is what a policy says of a repository.
type Evaluation struct {
	Content retention.Content
	retention.Result
}

// Evaluate asks a policy about a repository. fault.NameUnknown if that does not exist.
func (t *Tenant) Evaluate(ctx context.Context, p retention.Policy, r meta.Repo, registry string, at retention.Moment) (Evaluation, error) {
	c, err := t.meta.RetentionContent(ctx, r)
	if err != nil {
		return Evaluation{}, err
	}
	var rules tagrule.Rules
	for _, rule := range t.rules {
		if !rule.Disabled && (rule.Registry == "" || rule.Registry == registry) {
			rules = append(rules, rule.Rule)
		}
	}
	c.TagRules = rules.For(tagrule.Delete, r.Name)
	return Evaluation{Content: c, Result: p.Evaluate(c, at)}, nil
}

// Protected is how many tags a rule would delete, and a tag rule protects.
func (e Evaluation) Protected() int64 {
	n := int64(0)
	for _, v := range e.Result.Tags {
		if v.Reason == retention.ByTagRule {
			n++
		}
	}
	return n
}

// Surplus are the deletions of tags that come before that of a manifest with very many
// tags, which is deleted after the next evaluation: one transaction is for few of them.
func Surplus(d retention.Deletion) []retention.Deletion {
	if len(d.Tags) <= maxTags {
		return nil
	}
	var steps []retention.Deletion
	for _, tag := range slices.Sorted(slices.Values(d.Tags))[maxTags:] {
		steps = append(steps, retention.Deletion{Digest: d.Digest, Tag: tag, Rule: d.Rule})
	}
	return steps
}

// maxTags is how many tags go with a manifest at once.
const maxTags = 400
