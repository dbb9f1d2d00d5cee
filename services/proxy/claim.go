package proxy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// explain adds to notHere that upstreams were not asked since the name is
// claimed, and by which registry, where the caller may pull from that registry:
// that it had such a repository is for no one else. It never fails: an answer
// that nothing is there stays right without its reason.
func (w *walk[T]) explain(ctx context.Context, notHere error) error {
	f := fault.From(notHere)
	if len(w.withheld) == 0 || f == nil {
		return notHere
	}
	by := ""
	for _, id := range w.chain.Registries {
		if !w.Member && id != w.chain.Registries[0] {
			break // the caller passed the rules of the first one
		}
		_, err := w.meta.FindNameClaim(ctx, meta.Repo{Tenant: w.Tenant, Registry: id, Name: w.Name})
		if err == nil {
			by = w.registrySlug(id)
			break
		}
		if !fault.Is(err, fault.ResourceUnknown) {
			return notHere
		}
	}
	if by == "" {
		return notHere
	}
	slices.Sort(w.withheld)
	asked := slices.Compact(w.withheld)
	detail := map[string]any{"reason": "NAME_CLAIMED", "claimed_by": "registries/" + by, "not_asked": asked}
	if before, ok := f.Detail.(map[string]string); ok {
		for key, value := range before {
			detail[key] = value
		}
	}
	message := fmt.Sprintf("%s; %s not asked, since registry %q claims the name %q by a push to it: release the claim, or name it in allow_claimed",
		f.Message, these(asked), by, w.Name)
	return fault.New(f.Kind, f.Reason, "%s", message).WithDetail(detail).WithWarning()
}

// these are the upstreams of a sentence, with their verb.
func these(members []string) string {
	slugs := make([]string, len(members))
	for i, m := range members {
		slugs[i] = strings.TrimPrefix(m, "upstreams/")
	}
	if len(slugs) == 1 {
		return "upstream " + slugs[0] + " is"
	}
	return "upstreams " + strings.Join(slugs, ", ") + " are"
}

// registrySlug is the slug of a registry in the chain.
func (a asked) registrySlug(id tenant.RegistryID) string {
	if id == a.chain.Registries[0] {
		return a.Registry
	}
	var find func(members []chain.Member) string
	find = func(members []chain.Member) string {
		for i := range members {
			if members[i].Registry == id {
				return strings.TrimPrefix(members[i].Name, "registries/")
			}
			if slug := find(members[i].Members); slug != "" {
				return slug
			}
		}
		return ""
	}
	return find(a.chain.Members)
}
