package metatest

import (
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testContentSizes(t *testing.T, open Open) {
	t.Run("W94 counts each blob once, and apart what nothing else of the tenant holds", func(t *testing.T) {
		w := newWorld(t, open)
		app, other := w.repo("app"), w.repo("other")
		dev := w.in("dev")
		base, alone, twice, elsewhere := w.push(app, "base"), w.push(app, "of one image alone"), w.push(app, "of two images"), w.push(app, "of two repositories")
		loose := w.push(app, "of none")
		first := w.put(app, w.image(nil, base, alone, twice, elsewhere), "v1")
		second := w.put(app, w.image(nil, base, twice), "v2")
		w.push(other, "of two repositories")
		third := w.put(other, w.image(nil, w.push(other, "of two registries")), "v1")
		w.push(dev, "of two registries")

		w.size(app, oci.Reference{}, measured{[]meta.Manifest{first, second}, []meta.Blob{base, alone, twice, loose}, []meta.Blob{elsewhere}})
		w.size(app, oci.Reference{Tag: "v1"}, measured{[]meta.Manifest{first}, []meta.Blob{alone}, []meta.Blob{base, twice, elsewhere}})
		w.size(app, oci.Reference{Digest: second.Digest}, measured{[]meta.Manifest{second}, nil, []meta.Blob{base, twice}})
		all, err := w.Store.RegistrySize(t.Context(), w.tenant, w.registry)
		w.must(err)
		shared := meta.Blob{Size: int64(len("of two registries"))}
		w.same(all, measured{[]meta.Manifest{first, second, third}, []meta.Blob{base, alone, twice, elsewhere, loose}, []meta.Blob{shared}})
	})
	t.Run("W94 an index with all that is below it, and its trash is not its own", func(t *testing.T) {
		w := newWorld(t, open)
		app := w.repo("app")
		config, layer := w.push(app, "config"), w.push(app, "a layer")
		amd, arm := w.put(app, w.image(nil, config)), w.put(app, w.image(nil, config, layer))
		inner := w.put(app, w.index(arm))
		index := w.put(app, w.index(amd, inner), "v1")
		whole := []meta.Manifest{amd, arm, inner, index}
		w.size(app, oci.Reference{Digest: index.Digest}, measured{whole, []meta.Blob{config, layer}, nil})

		gone := w.put(app, w.image(nil, layer), "gone")
		w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: app, Digest: gone.Digest, By: cause()}))
		w.size(app, oci.Reference{Digest: index.Digest}, measured{whole, []meta.Blob{config}, []meta.Blob{layer}})
	})
	t.Run("W94 what is not there has no size", func(t *testing.T) {
		w := newWorld(t, open)
		app := w.repo("app")
		_, err := w.Store.RepositorySize(t.Context(), app)
		w.refused(err, fault.NotFound, fault.NameUnknown)
		w.push(app, "a blob")
		w.size(app, oci.Reference{}, measured{nil, []meta.Blob{{Size: int64(len("a blob"))}}, nil})
		_, err = w.Store.ImageSize(t.Context(), app, oci.Reference{Digest: digestOf("no manifest")})
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		_, err = w.Store.ImageSize(t.Context(), app, oci.Reference{Tag: "none"})
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		abroad := app
		abroad.Tenant = w.tenant + 1
		_, err = w.Store.RepositorySize(t.Context(), abroad)
		w.refused(err, fault.NotFound, fault.NameUnknown)
	})
}

// measured is what a size is of.
type measured struct {
	manifests   []meta.Manifest
	own, shared []meta.Blob
}

// size compares that of a repository, or of an image.
func (w world) size(r meta.Repo, image oci.Reference, want measured) {
	w.t.Helper()
	var got meta.ContentSize
	var err error
	if image == (oci.Reference{}) {
		got, err = w.Store.RepositorySize(w.t.Context(), r)
	} else {
		got, err = w.Store.ImageSize(w.t.Context(), r, image)
	}
	w.must(err)
	w.same(got, want)
}

func (w world) same(got meta.ContentSize, of measured) {
	w.t.Helper()
	var want meta.ContentSize
	for _, m := range of.manifests {
		want.Manifests++
		want.ManifestBytes += int64(len(m.Payload))
	}
	for _, b := range of.own {
		want.OwnBlobs++
		want.OwnBlobBytes += b.Size
	}
	want.Blobs, want.BlobBytes = want.OwnBlobs, want.OwnBlobBytes
	for _, b := range of.shared {
		want.Blobs++
		want.BlobBytes += b.Size
	}
	if got != want {
		w.t.Errorf("got %+v, want %+v", got, want)
	}
}
