package metatest

import (
	"context"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testMadeAgain deletes what was read, makes it again, and then changes what was read: each begins
// at the same version.
func testMadeAgain(t *testing.T, open Open) {
	t.Run("V95 a password is not for the person who has the name now", func(t *testing.T) {
		w := newWorld(t, open)
		read := w.addUser("max")
		w.must(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.UserKind, "max", 0))
		somebody := w.addPerson(w.addProvider(meta.Deployment, "corp"), "max", "s-max")
		read.Password = "$argon2id$known"
		_, err := w.Store.UpdateAccount(t.Context(), cause(), read)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		if now := w.person("max"); now.Account != somebody.Account || now.Password != "" {
			t.Errorf("%+v, was %+v", now, somebody)
		}
		if e := w.events("", 1)[0]; e.Verb == "user.update" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("V95 service accounts", func(t *testing.T) {
		w := newWorld(t, open)
		again(w, func() (meta.Account, error) {
			return w.Store.CreateAccount(t.Context(), cause(), meta.Account{Tenant: w.tenant, Kind: access.ServiceKind, Slug: "ci", Role: access.Reader})
		}, func() error {
			return w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", 0)
		}, w.Store.UpdateAccount)
	})
	t.Run("V95 registries", func(t *testing.T) {
		w := newWorld(t, open)
		again(w, func() (meta.Registry, error) {
			return w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		}, func() error {
			err := w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true)
			w.purge()
			return err
		}, w.Store.UpdateRegistry)
	})
	t.Run("V95 upstreams", func(t *testing.T) {
		w := newWorld(t, open)
		again(w, func() (meta.Upstream, error) {
			return w.Store.CreateUpstream(t.Context(), cause(), meta.Upstream{Tenant: w.tenant, Slug: "ghcr"})
		}, func() error {
			return w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0)
		}, func(ctx context.Context, by meta.Cause, u meta.Upstream) (meta.Upstream, error) {
			return w.Store.UpdateUpstream(ctx, by, u, true)
		})
	})
	t.Run("V95 identity providers", func(t *testing.T) {
		w := newWorld(t, open)
		for _, owner := range []tenant.ID{w.tenant, meta.Deployment} {
			again(w, func() (meta.IdentityProvider, error) {
				return w.Store.CreateIdentityProvider(t.Context(), cause(), w.provider(owner, "corp"))
			}, func() error {
				return w.Store.DeleteIdentityProvider(t.Context(), cause(), owner, "corp", 0)
			}, w.Store.UpdateIdentityProvider)
		}
	})
	t.Run("V95 operators", func(t *testing.T) {
		w := newWorld(t, open)
		again(w, func() (meta.Operator, error) {
			return w.Store.CreateOperator(t.Context(), cause(), meta.Operator{Slug: "alice"})
		}, func() error {
			return w.Store.DeleteOperator(t.Context(), cause(), "alice", 0)
		}, w.Store.UpdateOperator)
	})
}

// again changes the first of two resources that had one slug after each other.
func again[R any](
	w world, create func() (R, error), remove func() error, update func(context.Context, meta.Cause, R) (R, error),
) {
	w.t.Helper()
	read, err := create()
	w.must(err)
	w.must(remove())
	now, err := create()
	w.must(err)
	_, err = update(w.t.Context(), cause(), read)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	_, err = update(w.t.Context(), cause(), now)
	w.must(err)
}
