package chain

import (
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// maxPattern is the most bytes of a pattern.
const maxPattern = 255

// CheckPattern says whether text is a pattern of names: a name in which * stands
// for anything in one component, ** for any number of components, ? for a
// character, [a-z] for one of several.
func CheckPattern(text string) error {
	if text == "" || len(text) > maxPattern || strings.ContainsAny(text, `{}\`) || !doublestar.ValidatePattern(text) {
		return fault.New(fault.Invalid, fault.RequestInvalid, "%q is not a valid name pattern, such as library/** or team-*/app, of at most %d bytes", text, maxPattern)
	}
	return nil
}

// matches says whether one of the patterns is of the name.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := doublestar.Match(p, name)
		return ok && err == nil
	})
}

// selects says whether a pair of include and exclude lists lets the name pass. An
// empty include takes all names.
func selects(include, exclude []string, name string) bool {
	return (len(include) == 0 || matches(include, name)) && !matches(exclude, name)
}

// Offers says whether the tenant takes this name, which is the upstream's own,
// from it.
func Offers(u *meta.Upstream, name string) bool {
	return selects(u.Settings.Include, u.Settings.Exclude, name)
}

// NameAt is the upstream's own name of the repository that clients of a registry
// call name. It is not ok where the tenant does not take that name from it.
func NameAt(u *meta.Upstream, name string) (string, bool) {
	name = u.Settings.NamePrefix + name
	return name, oci.CheckName(name) == nil && Offers(u, name)
}

// AllowsClaimed says whether the upstream may be asked for the name, as clients
// say it, although a registry of the tenant has or had it.
func AllowsClaimed(u *meta.Upstream, name string) bool {
	return matches(u.Settings.AllowClaimed, name)
}
