package proxy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// explain adds to notHere that upstreams were not asked since the name is claimed.
// It names the claiming registry only if the caller may pull from it: others must
// not learn that it has the repository. It never fails: notHere is right without
// the reason.
func (p *pull) explain(ctx context.Context, notHere error) error {
	f := fault.From(notHere)
	if f != nil && (p.CacheOnly || p.unfilled) {
		return fault.New(f.Kind, f.Reason, "%s; no upstream was asked: you may pull what the cache has, and need the right to fill it for more", f.Message).
			WithDetail(map[string]string{"reason": "NOT_FILLED"})
	}
	if len(p.walk.NotAsked) == 0 || f == nil {
		return notHere
	}
	by := p.claimedBy(ctx)
	if by == "" {
		return notHere
	}
	slices.Sort(p.walk.NotAsked)
	notAsked := slices.Compact(p.walk.NotAsked)
	detail := map[string]any{"reason": "NAME_CLAIMED", "claimed_by": "registries/" + by, "not_asked": notAsked}
	if before, ok := f.Detail.(map[string]string); ok {
		for key, value := range before {
			detail[key] = value
		}
	}
	message := fmt.Sprintf("%s; %s not asked, since registry %q claims the name %q by a push to it: release the claim, or name it in allow_claimed",
		f.Message, upstreamsAre(notAsked), by, p.Name)
	return fault.New(f.Kind, f.Reason, "%s", message).WithDetail(detail).WithWarning()
}

// gone adds to notHere that the upstream no longer has what a cached manifest of its own
// names: its image has changed, and a new pull by tag gets the new one (contract row T10).
func gone(notHere error, m *chain.Member, err error) error {
	f := fault.From(notHere)
	if f == nil || chain.OutcomeOf(err) != chain.NotHere {
		return notHere
	}
	return fault.New(f.Kind, f.Reason, "%s; upstream %q no longer has it, although a manifest that it sent before names it: pull the image by its tag again, which is checked at the upstream now",
		f.Message, m.Upstream.Slug).WithDetail(f.Detail).WithWarning()
}

// claimedBy is the slug of the registry that claims the name; empty if the caller
// may not know it, or on an error.
func (p *pull) claimedBy(ctx context.Context) string {
	for i, id := range p.walk.Registries {
		r := p.walk.Registry(i)
		if i > 0 && (p.Anonymous || p.Caller == nil || !p.Caller(r).Has(access.Pull)) {
			return "" // the caller passed the rules of the first registry
		}
		_, err := p.service.meta.FindNameClaim(ctx, meta.Repo{Tenant: p.Tenant, Registry: id, Name: p.Name})
		if err == nil {
			return r.Slug
		}
		if !fault.Is(err, fault.ResourceUnknown) {
			return ""
		}
	}
	return ""
}

// upstreamsAre names upstreams in a sentence, with their verb.
func upstreamsAre(members []string) string {
	slugs := make([]string, len(members))
	for i, m := range members {
		slugs[i] = strings.TrimPrefix(m, "upstreams/")
	}
	if len(slugs) == 1 {
		return "upstream " + slugs[0] + " is"
	}
	return "upstreams " + strings.Join(slugs, ", ") + " are"
}
