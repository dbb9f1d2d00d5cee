package metatest

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func testPrincipalGroups(t *testing.T, open Open) {
	t.Run("U40 belong to one tenant, and change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		w.addAccount("ci", access.Member)
		w.addUser("alice")
		by, g := cause(), meta.PrincipalGroup{Tenant: w.tenant, Slug: "dev", DisplayName: "Development", Members: []string{"serviceAccounts/ci", "users/alice"}}
		made, err := w.Store.CreatePrincipalGroup(t.Context(), by, g)
		w.must(err)
		want := g
		want.Version, want.CreatedAt, want.UpdatedAt = 1, w.Now(), w.Now()
		w.samePrincipalGroup(made, want)
		again, err := w.Store.CreatePrincipalGroup(t.Context(), by, g) // the same request again
		w.must(err)
		w.samePrincipalGroup(again, made)
		_, err = w.Store.CreatePrincipalGroup(t.Context(), cause(), g)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindPrincipalGroup(t.Context(), other, "dev")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeletePrincipalGroup(t.Context(), cause(), other, "dev", 0), fault.NotFound, fault.ResourceUnknown)

		w.Advance(time.Minute)
		change := made
		change.DisplayName, change.Members = "Dev", []string{"users/alice"}
		after, err := w.Store.UpdatePrincipalGroup(t.Context(), cause(), change)
		w.must(err)
		want = change
		want.Version, want.UpdatedAt = 2, w.Now()
		w.samePrincipalGroup(after, want)
		_, err = w.Store.UpdatePrincipalGroup(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		_, err = w.Store.CreatePrincipalGroup(t.Context(), cause(), meta.PrincipalGroup{Tenant: w.tenant, Slug: "empty"})
		w.must(err)
		all, err := w.Store.ListPrincipalGroups(t.Context(), w.tenant, meta.Page{Size: 9})
		w.must(err)
		if len(all) != 2 || len(all[1].Members) != 0 {
			t.Errorf("listed: %+v", all)
		}
		w.samePrincipalGroup(all[0], after)
		rest, err := w.Store.ListPrincipalGroups(t.Context(), w.tenant, meta.Page{After: "dev", Size: 1})
		if err != nil || len(rest) != 1 || rest[0].Slug != "empty" {
			t.Errorf("after dev: %+v, %v", rest, err)
		}
		w.must(w.Store.DeletePrincipalGroup(t.Context(), cause(), w.tenant, "dev", after.Version))
		w.refused(w.Store.DeletePrincipalGroup(t.Context(), cause(), w.tenant, "dev", 0), fault.NotFound, fault.ResourceUnknown)
		w.groupsOf("users/alice", 4)
	})
	t.Run("U40 name only accounts of the tenant, which leave when they are deleted", func(t *testing.T) {
		w := newWorld(t, open)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		other.addAccount("theirs", access.Member)
		w.addAccount("ci", access.Member)
		for _, members := range [][]string{{"serviceAccounts/ci", "serviceAccounts/theirs"}, {"serviceAccounts/ci", "users/ci"}} {
			_, err := w.Store.CreatePrincipalGroup(t.Context(), cause(), meta.PrincipalGroup{Tenant: w.tenant, Slug: "dev", Members: members})
			w.refused(err, fault.Invalid, fault.ResourceUnknown)
			if field := fault.From(err).Field; field != "members[1]" {
				t.Errorf("field %q", field)
			}
		}
		w.groupsOf("serviceAccounts/ci", 0)
		for _, slug := range []string{"dev", "ops"} {
			_, err := w.Store.CreatePrincipalGroup(t.Context(), cause(), meta.PrincipalGroup{Tenant: w.tenant, Slug: slug, Members: []string{"serviceAccounts/ci"}})
			w.must(err)
		}
		w.groupsOf("serviceAccounts/ci", 2, "groups/dev", "groups/ops")
		w.must(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", 0))
		w.groupsOf("serviceAccounts/ci", 3)
		w.addAccount("ci", access.Member) // another one, which is in no group
		g, err := w.Store.FindPrincipalGroup(t.Context(), w.tenant, "dev")
		if err != nil || len(g.Members) != 0 || g.Version != 2 {
			t.Errorf("%+v, %v", g, err)
		}
		_, _, err = w.Store.GroupsOf(t.Context(), 4711, "users/alice")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("U40 stay while a rule names them, and go with their tenant", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.rule("rule")
		r.Principals = []string{"groups/dev"}
		_, err := w.Store.CreateAccessRule(t.Context(), cause(), r)
		w.refused(err, fault.Invalid, fault.ResourceUnknown)
		w.addAccount("ci", access.Member)
		_, err = w.Store.CreatePrincipalGroup(t.Context(), cause(), meta.PrincipalGroup{Tenant: w.tenant, Slug: "dev", Members: []string{"serviceAccounts/ci"}})
		w.must(err)
		w.addRule(r)
		w.refused(w.Store.DeletePrincipalGroup(t.Context(), cause(), w.tenant, "dev", 0), fault.Conflict, fault.InUse)
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		_, err = w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.must(err)
		w.groupsOf("serviceAccounts/ci", 2, "groups/dev")
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.purge()
		left, err := w.Store.ListPrincipalGroups(t.Context(), w.tenant, meta.Page{Size: 9})
		if err != nil || len(left) != 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
		w.consistent()
	})
}

func (w world) groupsOf(principal string, version int64, want ...string) {
	w.t.Helper()
	got, at, err := w.Store.GroupsOf(w.t.Context(), w.tenant, principal)
	if err != nil || at != version || !slices.Equal(got, want) {
		w.t.Errorf("%s is in %v at version %d, %v; want %v at %d", principal, got, at, err, want, version)
	}
}

func (w world) samePrincipalGroup(got, want meta.PrincipalGroup) {
	w.t.Helper()
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		w.t.Errorf("times of %+v, want those of %+v", got, want)
	}
	got.CreatedAt, got.UpdatedAt = want.CreatedAt, want.UpdatedAt
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("group is\n%+v, want\n%+v", got, want)
	}
}
