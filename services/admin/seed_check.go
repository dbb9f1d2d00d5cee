package admin

import (
	"context"
	"fmt"
	"path/filepath"

	"google.golang.org/protobuf/proto"

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
			what := "is not"
			if r.lacks != "" {
				what = "has no " + r.lacks
			}
			elsewhere = append(elsewhere, f.locate(within(fmt.Sprintf("tenants[%d].%s", i, r.path),
				invalid("", "%s %q %s in this file; a start fails unless the tenant has it already", r.kind, clipped(r.id), what))))
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
	k.note(at, checked(t.Fields, func(m *pb.Tenant) error { return setTenant(&meta.Tenant{}, m) }))
	k.resources(at+".registries", t.Registries, func(f seedFields) error {
		return checked(f, func(m *pb.Registry) error { _, err := registrySettings(m); return err })
	})
	k.resources(at+".upstream_groups", t.UpstreamGroups, func(f seedFields) error {
		return checked(f, func(m *pb.UpstreamGroup) error { _, err := groupMembers(m); return err })
	})
	k.ids(at+".upstreams", mapped(t.Upstreams, func(u seedUpstream) string { return u.ID }))
	for i, u := range t.Upstreams {
		k.note(fmt.Sprintf("%s.upstreams[%d]", at, i), k.upstream(t.ID, u))
	}
	for i, d := range t.Domains {
		err := checked(d.Fields, func(*pb.Domain) error { _, err := k.service.checkHost(d.ID, true); return err })
		k.note(fmt.Sprintf("%s.domains[%d]", at, i), err)
	}
	k.ids(at+".service_accounts", mapped(t.ServiceAccounts, func(a seedAccount) string { return a.ID }))
	for i, a := range t.ServiceAccounts {
		k.account(fmt.Sprintf("%s.service_accounts[%d]", at, i), a)
	}
}

func (k *seedChecker) resources(path string, all []seedResource, check func(seedFields) error) {
	k.ids(path, mapped(all, func(r seedResource) string { return r.ID }))
	for i, r := range all {
		k.note(fmt.Sprintf("%s[%d]", path, i), check(r.Fields))
	}
}

// checked says what is wrong with the form of the fields or, by check, with their
// values.
func checked[M proto.Message](f seedFields, check func(M) error) error {
	m, _, err := decoded[M](f)
	if err != nil {
		return err
	}
	return check(m)
}

// Values of what a file leaves to the resource that the tenant has already, for
// checking the rest.
const (
	someURL      = "https://upstream.invalid"
	someUsername = "user"
	someRole     = pb.ServiceAccount_READER
)

func (k *seedChecker) upstream(tenantSlug string, u seedUpstream) error {
	m, _, err := u.read(k.dir)
	if err != nil {
		return err
	}
	if !u.Fields.has("url") {
		m.Url = someURL
	}
	if !u.Fields.has("username") {
		m.Username = someUsername
	}
	row := meta.Upstream{Slug: u.ID}
	if err := k.service.configure(&row, m); err != nil || !u.Fields.has("url") {
		return err
	}
	return k.CheckAddress(k.ctx, tenantSlug, row.Settings.URL)
}

func (k *seedChecker) account(at string, a seedAccount) {
	k.note(at, checked(a.Fields, func(m *pb.ServiceAccount) error {
		if !a.Fields.has("role") {
			m.Role = someRole
		}
		return setAccount(&meta.Account{}, m)
	}))
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
