package admin

import (
	"context"
	"fmt"
	"path/filepath"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
)

// SeedCheck is what a seed file is held against, as far as that takes no store.
type SeedCheck struct {
	Pattern      tenant.Pattern
	Secrets      *seal.Keyring                                           // empty: no passwords can be kept
	CheckAddress func(ctx context.Context, tenantSlug, url string) error // see Chains
}

// CheckSeed returns everything that is wrong with the file and, second, what it
// names but does not have, each with its line. It changes nothing and asks no store:
// whether the tenant has that already shows when the file is applied.
func CheckSeed(ctx context.Context, file string, c SeedCheck) ([]error, []error) {
	f, err := readSeed(file)
	if err != nil {
		return []error{err}, nil
	}
	var elsewhere []error
	for i, t := range f.Tenants {
		for _, r := range t.elsewhere() {
			elsewhere = append(elsewhere, f.locate(within(fmt.Sprintf("tenants[%d].%s", i, r.path),
				invalid("", "%s %q is not in this file; a start fails unless the tenant has it already", r.kind, clipped(r.id)))))
		}
	}
	return c.wrong(ctx, f), elsewhere
}

// wrong is everything that is wrong with the file.
func (c SeedCheck) wrong(ctx context.Context, f *seedFile) []error {
	k := seedChecker{SeedCheck: c, ctx: ctx, file: f, dir: filepath.Dir(f.name), service: &Service{pattern: c.Pattern, secrets: c.Secrets}}
	for i, t := range f.Tenants {
		k.tenant(fmt.Sprintf("tenants[%d]", i), t)
	}
	return k.found
}

type seedChecker struct {
	SeedCheck
	ctx     context.Context //nolint:containedctx // of one call of CheckSeed
	file    *seedFile
	dir     string
	service *Service // without a store
	found   []error
}

func (k *seedChecker) note(path string, err error) {
	if err != nil {
		k.found = append(k.found, k.file.locate(within(path, err)))
	}
}

// ids notes ids that cannot be, and those that are there twice.
func (k *seedChecker) ids(path string, ids []string) {
	seen := map[string]bool{}
	for i, id := range ids {
		at := fmt.Sprintf("%s[%d]", path, i)
		k.note(at, checkSeedID(id))
		if seen[id] && id != "" {
			k.note(at, invalid("id", "%q is there twice", clipped(id)))
		}
		seen[id] = true
	}
}

func (k *seedChecker) tenant(at string, t seedTenant) {
	k.note(at, checkSeedID(t.ID))
	m := &pb.Tenant{}
	_, err := t.Fields.decode(m, tenantFields)
	if err == nil {
		err = setTenant(&meta.Tenant{}, m)
	}
	k.note(at, err)
	resources := func(path string, all []seedResource, check func(seedResource) error) {
		k.ids(path, mapped(all, func(r seedResource) string { return r.ID }))
		for i, r := range all {
			k.note(fmt.Sprintf("%s[%d]", path, i), check(r))
		}
	}
	resources(at+".registries", t.Registries, func(r seedResource) error {
		m := &pb.Registry{}
		_, err := r.Fields.decode(m, registryFields)
		if err == nil {
			_, err = registrySettings(m)
		}
		return err
	})
	resources(at+".upstream_groups", t.UpstreamGroups, func(r seedResource) error {
		m := &pb.UpstreamGroup{}
		_, err := r.Fields.decode(m, groupFields)
		if err == nil {
			_, err = groupMembers(m)
		}
		return err
	})
	k.ids(at+".upstreams", mapped(t.Upstreams, func(u seedUpstream) string { return u.ID }))
	for i, u := range t.Upstreams {
		k.note(fmt.Sprintf("%s.upstreams[%d]", at, i), k.upstream(t.ID, u))
	}
	for i, d := range t.Domains {
		_, err := d.Fields.decode(&pb.Domain{}, []string{"registry"})
		if err == nil {
			_, err = k.service.checkHost(d.ID, true)
		}
		k.note(fmt.Sprintf("%s.domains[%d]", at, i), err)
	}
	k.ids(at+".service_accounts", mapped(t.ServiceAccounts, func(a seedAccount) string { return a.ID }))
	for i, a := range t.ServiceAccounts {
		k.account(fmt.Sprintf("%s.service_accounts[%d]", at, i), a)
	}
}

func (k *seedChecker) upstream(tenantSlug string, u seedUpstream) error {
	m, _, err := u.read(k.dir)
	if err != nil {
		return err
	}
	row := meta.Upstream{Slug: u.ID}
	if err := k.service.configure(&row, m); err != nil {
		return err
	}
	return k.CheckAddress(k.ctx, tenantSlug, row.Settings.URL)
}

func (k *seedChecker) account(at string, a seedAccount) {
	m := &pb.ServiceAccount{}
	_, err := a.Fields.decode(m, accountFields)
	if err == nil {
		err = setAccount(&meta.Account{}, m)
	}
	k.note(at, err)
	k.ids(at+".keys", mapped(a.Keys, func(key seedKey) string { return key.ID }))
	for i, key := range a.Keys {
		_, err := key.hash(k.dir)
		k.note(fmt.Sprintf("%s.keys[%d]", at, i), err)
	}
}

// checkSeedID is checkSlug for an id of a seed file.
func checkSeedID(id string) error {
	if id == "" {
		return invalid("id", "it is missing")
	}
	return checkSlug("id", id)
}
