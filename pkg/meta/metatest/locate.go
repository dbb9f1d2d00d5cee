package metatest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
)

func testLocateBlob(t *testing.T, open Open) {
	t.Run("P50 names the repositories that hold a blob, and no other tenant's", func(t *testing.T) {
		w, cached := newCache(t, open)
		b := w.push(w.repo("team/app"), "shared")
		w.fill(cached, "shared")
		w.push(w.repo("beside"), "another")
		rival, main := w.addTenant("rival", 0)
		w.push(meta.Repo{Tenant: rival, Registry: main, Name: "app"}, "shared")
		got, err := w.Store.LocateBlob(t.Context(), int64(w.tenant), b.Digest)
		w.must(err)
		slices.Sort(got.Repositories)
		want := []string{"tenants/acme/registries/main/repositories/team/app", "tenants/acme/upstreams/ghcr/repositories/library/app"}
		if got.Tenant != "acme" || !slices.Equal(got.Repositories, want) {
			t.Errorf("%+v, want %q", got, want)
		}
	})
	t.Run("P50 names the repository whose trash alone holds it, also once that is deleted", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.pushImage(r, "kept", "other")
		m := w.pushImage(r, "v1", "config")
		w.must(w.tryDelete(r, m.Digest))
		w.must(w.Store.DeleteBlob(t.Context(), cause(), r, digestOf("config"))) // gone from every read
		named := func() {
			t.Helper()
			got, err := w.Store.LocateBlob(t.Context(), int64(w.tenant), digestOf("config"))
			if w.must(err); got.Tenant != "acme" || !slices.Equal(got.Repositories, []string{"tenants/acme/registries/main/repositories/app"}) {
				t.Errorf("%+v", got)
			}
		}
		named()
		w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
		named()
	})
	t.Run("P50 names ten of many, the tenant alone for no digest, and nothing of an unknown tenant", func(t *testing.T) {
		w := newWorld(t, open)
		for i := range 12 {
			w.push(w.repo(fmt.Sprintf("app-%d", i)), "shared")
		}
		many, err := w.Store.LocateBlob(t.Context(), int64(w.tenant), digestOf("shared"))
		w.must(err)
		none, err := w.Store.LocateBlob(t.Context(), int64(w.tenant), "")
		w.must(err)
		unknown, err := w.Store.LocateBlob(t.Context(), 4711, digestOf("shared"))
		w.must(err)
		if len(many.Repositories) != 10 || none.Tenant != "acme" || len(none.Repositories) != 0 || unknown.Tenant != "" || len(unknown.Repositories) != 0 {
			t.Errorf("%+v, %+v, %+v", many, none, unknown)
		}
	})
}
