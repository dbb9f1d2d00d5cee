package chain

import (
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Registry is a registry of a chain, with what rights there depend on.
type Registry struct {
	Slug string
	meta.TopologyRegistry
}

// Settings are those that rights in the registry depend on, as far as a chain uses them.
func (r Registry) Settings() tenant.Settings {
	return tenant.Settings{AnonymousPull: r.AnonymousPull, AnonymousPush: r.AnonymousPush}
}

// Caller returns what a caller may do in a registry of the tenant, with the repository that
// the request is about. nil may do nothing.
type Caller func(Registry) access.Actions

// CallerOf is the caller with these rights, for a repository as the path of a request names
// it.
func CallerOf(rights *access.Rights, repository string) Caller {
	return func(r Registry) access.Actions { return rights.In(r.Slug, r.Settings(), repository) }
}

// PullsAll is a caller who may pull from every registry.
func PullsAll(Registry) access.Actions { return access.Pull | access.Fill }

// errNotAllowed is for members that the group does not delegate. It depends on rights alone,
// so that it shows nothing of what they have.
var errNotAllowed = SkipError{"the caller may not pull this from the registry itself, and the group does not delegate that right"}

// Rights are what the caller may do with what the member answers, as far as the member and
// the registries on the way to it decide: all, where the groups delegate that.
func (m *Member) Rights(c Caller) access.Actions {
	a := access.Pull | access.Fill
	for _, r := range m.checked {
		if c == nil {
			return 0
		}
		a &= c(r)
	}
	return a
}

// Checked reports whether the caller's own rights decide about the member, or a registry on
// the way to it.
func (m *Member) Checked() bool { return len(m.checked) > 0 }

// CheckedAt are the registries where the caller's own rights decide: on the way to the member,
// and itself.
func (m *Member) CheckedAt() []Registry { return m.checked }

// Delegated reports whether the group delegates the right to pull from the member.
func (m *Member) Delegated() bool { return !m.entry.Checked }
