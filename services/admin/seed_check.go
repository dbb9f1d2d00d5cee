package admin

import (
	"context"
	"fmt"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
)

// SeedCheck is what a seed file is held against, as far as that takes no store.
type SeedCheck struct {
	Pattern      tenant.Pattern
	Secrets      *seal.Keyring                                                  // empty: no passwords can be kept
	CheckAddress func(ctx context.Context, tenantSlug, proxy, url string) error // see Chains
	CheckHelper  func(name, tenantSlug, url string) error                       // likewise
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
	k.providers("identity_providers", "", f.Providers)
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

// checked says what is wrong with the form of the fields or, by check, with their
// values.
func checked[M proto.Message](f seedFields, check func(M) error) error {
	m, _, err := decoded[M](f)
	if err != nil {
		return err
	}
	return check(m)
}

// checkSeedID is checkSlug for an id of a seed file.
func checkSeedID(id string) error {
	if id == "" {
		return invalid("id", "it is missing")
	}
	return checkSlug("id", id)
}
