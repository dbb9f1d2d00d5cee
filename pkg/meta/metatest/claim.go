package metatest

import (
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func testNameClaims(t *testing.T, open Open) {
	t.Run("N4 are listed, and released where nothing is left", func(t *testing.T) {
		w := newWorld(t, open)
		app, lib := w.repo("team/app"), w.repo("lib")
		w.pushImage(app, "v1", "config")
		w.pushImage(lib, "v1", "config")
		w.push(w.repo("only/blobs"), "config")
		_, dev := w.addTenant("other", 0)
		w.sameClaims([]string{"lib in use", "team/app in use"}, "", 9)
		w.sameClaims([]string{"team/app in use"}, "lib", 1)
		w.sameClaims(nil, "", 0)
		if claims, err := w.Store.ListNameClaims(t.Context(), w.tenant, dev, meta.Page{Size: 9}); err != nil || len(claims) > 0 {
			t.Errorf("the registry of another tenant claims %v, %v", claims, err)
		}

		w.refused(w.Store.ReleaseNameClaim(t.Context(), cause(), app), fault.Conflict, fault.InUse)
		w.claimed(true, app.Name, w.registry)
		w.must(w.Store.DeleteRepository(t.Context(), cause(), app))
		w.sameClaims([]string{"lib in use", "team/app"}, "", 9)
		found, err := w.Store.FindNameClaim(t.Context(), app)
		if err != nil || found.InUse || !found.Since.Equal(w.Now()) {
			t.Errorf("found %+v, %v", found, err)
		}

		by := cause()
		w.must(w.Store.ReleaseNameClaim(t.Context(), by, app))
		w.must(w.Store.ReleaseNameClaim(t.Context(), by, app)) // the same request again
		w.refused(w.Store.ReleaseNameClaim(t.Context(), cause(), app), fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.FindNameClaim(t.Context(), app)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.claimed(false, app.Name, w.registry)
		if e := w.events("", 1)[0]; e.Verb != "nameClaim.release" || e.Target != "registries/main/nameClaims/team/app" {
			t.Errorf("the event is %+v", e)
		}

		w.pushImage(app, "v2", "config") // claims it again
		w.claimed(true, app.Name, w.registry)
		m := w.pushImage(lib, "v2", "config", "layer")
		w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: lib, Digest: m.Digest, By: cause()}))
		w.refused(w.Store.ReleaseNameClaim(t.Context(), cause(), lib), fault.Conflict, fault.InUse)
		w.consistent()
	})
	t.Run("N4 are released beside pushes", func(t *testing.T) {
		w := newWorld(t, open)
		r, empty := w.repo("app"), w.index()
		for i := range 20 {
			w.put(r, empty, "v0")
			w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
			together(
				func() { w.must(w.tryPut(r, empty, "v1")) },
				func() { ignore(t, w.Store.ReleaseNameClaim(t.Context(), cause(), r), fault.InUse) },
			)
			if w.claimed(true, r.Name, w.registry); t.Failed() {
				t.Fatalf("in round %d a repository is left whose name anyone can take", i)
			}
			w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
		}
		w.consistent()
	})
}

// sameClaims fails the test unless the page of claims is what it should be.
func (w world) sameClaims(want []string, after string, size int) {
	w.t.Helper()
	claims, err := w.Store.ListNameClaims(w.t.Context(), w.tenant, w.registry, meta.Page{After: after, Size: size})
	w.must(err)
	var got []string
	for _, c := range claims {
		text := c.Name
		if c.InUse {
			text += " in use"
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("claims after %q: %q, want %q", after, got, want)
	}
}
