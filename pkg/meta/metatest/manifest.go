package metatest

import (
	"bytes"
	"slices"
	"testing"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

func testManifests(t *testing.T, open Open) {
	t.Run("come back byte for byte", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config", "layer")
		for _, ref := range []oci.Reference{{Tag: "v1"}, {Digest: m.Digest}} {
			got, err := w.Store.FindManifest(t.Context(), r, ref)
			if err != nil || got.Digest != m.Digest || got.MediaType != m.MediaType || !bytes.Equal(got.Payload, m.Payload) {
				t.Errorf("%s: %+v, %v", ref, got, err)
			}
		}
		w.consistent()
	})
	t.Run("C1 exist only in their own repository", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.pushImage(w.repo("app"), "v1", "config")
		w.pushImage(w.repo("other"), "x", "x")
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		for _, ref := range []oci.Reference{{Tag: "v1"}, {Digest: m.Digest}} {
			_, err := w.Store.FindManifest(t.Context(), w.repo("other"), ref)
			w.refused(err, fault.NotFound, fault.ManifestUnknown)
			for _, r := range []meta.Repo{
				w.repo("none"), other.repo("app"),
				{Tenant: other.tenant, Registry: w.registry, Name: "app"},
				{Tenant: w.tenant, Registry: other.registry, Name: "app"},
			} {
				_, err := w.Store.FindManifest(t.Context(), r, ref)
				w.refused(err, fault.NotFound, fault.NameUnknown)
			}
		}
	})
	t.Run("need what they name", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		elsewhere := w.push(w.repo("elsewhere"), "config")
		image := w.image(nil, elsewhere)
		err := w.tryPut(r, image, "v1")
		w.refused(err, fault.NotFound, fault.ManifestBlobUnknown)
		w.refused(w.tryPut(r, w.index(image.Manifest), "v1"), fault.NotFound, fault.ManifestBlobUnknown)
		_, err = w.Store.ListTags(t.Context(), r, meta.Page{Size: 1})
		w.refused(err, fault.NotFound, fault.NameUnknown) // a refused PUT leaves nothing behind

		config := w.push(r, "config")
		w.put(r, image, "v1")
		w.put(r, w.index(image.Manifest, image.Manifest), "v2")
		if err := w.Store.DeleteBlob(t.Context(), cause(), r, config.Digest); !fault.Is(err, fault.UnsupportedReason) {
			t.Errorf("the config could be deleted: %v", err)
		}
		w.consistent()
	})
	t.Run("may lack what is foreign, and anything where it is allowed", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		config := w.push(r, "config")
		layer := ocitest.Layer([]byte("layer"))
		foreign := layer
		foreign.URLs = []string{"https://elsewhere.example/layer"}
		image := func(l ...ocitest.Content) meta.ManifestPut {
			return w.parsed(ocitest.Manifest(content(imagespec.MediaTypeImageConfig, config), l...))
		}
		w.put(r, image(foreign), "foreign")
		// The same blob without urls is needed after all.
		w.refused(w.tryPut(r, image(foreign, layer)), fault.NotFound, fault.ManifestBlobUnknown)

		sparse := image(layer)
		sparse.AllowMissingReferences = true
		w.put(r, sparse, "sparse")
		lacking := w.index(w.image(nil, w.push(w.repo("other"), "x")).Manifest)
		lacking.AllowMissingReferences = true
		w.put(r, lacking, "index")

		// What is pushed later is held from the next PUT on.
		w.push(r, "layer")
		w.put(r, sparse, "sparse")
		w.collectAll()
		_, err := w.Store.FindBlob(t.Context(), r, layer.Digest)
		w.must(err)
		w.consistent()
	})
	t.Run("D1 never change their media type", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		index := w.index()
		w.put(r, index, "v1")
		other := index
		other.Manifest.MediaType = oci.MediaTypeDockerList
		w.refused(w.tryPut(r, other, "v2"), fault.Invalid, fault.ManifestInvalid)
		got, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: index.Manifest.Digest})
		if err != nil || got.MediaType != oci.MediaTypeImageIndex {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("are put once per operation", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		first, second := w.index(), w.image(nil, w.push(r, "config"))
		first.Repo, first.Tags, first.By = r, []string{"latest"}, cause()
		w.must(w.Store.PutManifest(t.Context(), first))
		w.put(r, second, "latest")
		w.must(w.Store.PutManifest(t.Context(), first)) // its answer was lost: it must not move the tag back
		if got := w.tagged(r, "latest"); got != second.Manifest.Digest {
			t.Errorf("latest is %s", got)
		}
	})
	t.Run("are deleted with their tags", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config", "layer")
		w.put(r, w.index(), "index")
		w.put(r, w.image(nil, w.push(r, "config"), w.push(r, "layer")), "v2", "v3", "v2")
		w.refused(w.tryDelete(r, digestOf("none")), fault.NotFound, fault.ManifestUnknown)
		by := cause()
		w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: m.Digest, By: by}))
		w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: m.Digest, By: by})) // the same request again
		w.refused(w.tryDelete(r, m.Digest), fault.NotFound, fault.ManifestUnknown)
		tags, err := w.Store.ListTags(t.Context(), r, meta.Page{Size: 10})
		if err != nil || !slices.Equal(tags, []string{"index"}) {
			t.Errorf("tags %v, %v", tags, err)
		}
		_, err = w.Store.FindManifest(t.Context(), r, oci.Reference{Tag: "v1"})
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.consistent()
	})
	t.Run("C16 leave one event each", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("team/app")
		m := w.pushImage(r, "v1", "config")
		w.refused(w.tryPut(r, w.image(nil, meta.Blob{Digest: digestOf("none")})), fault.NotFound, fault.ManifestBlobUnknown)
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
		w.must(w.tryDelete(r, m.Digest))
		events, err := w.Store.ListEvents(t.Context(), w.tenant, meta.Page{Size: 4})
		w.must(err)
		app := "registries/main/repositories/team/app"
		want := []string{
			"manifest.delete " + app + "@" + m.Digest.String(), "tag.delete " + app + ":v1",
			"manifest.put " + app + ":v1@" + m.Digest.String(), "blob.push " + app + "@" + digestOf("config").String(),
		}
		var got []string
		for _, e := range events {
			got = append(got, e.Verb+" "+e.Target)
			if e.Actor != "serviceAccounts/ci" || e.RequestID != "r" || !e.At.Equal(w.Now()) {
				t.Errorf("event %+v", e)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
	})
}
