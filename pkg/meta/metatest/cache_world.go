package metatest

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// keep is how long what tests fetch is kept.
const keep = 10 * 24 * time.Hour

// newCache is a world with an upstream ghcr, and a repository of its cache.
func newCache(t *testing.T, open Open) (world, meta.Repo) {
	t.Helper()
	w := newWorld(t, open)
	u := w.addUpstream("ghcr", meta.UpstreamSettings{Keep: keep})
	return w, meta.Repo{Tenant: w.tenant, Registry: u.Cache, Name: "library/app"}
}

// described is a blob that is not stored, for a manifest to name.
func described(content string) meta.Blob {
	return meta.Blob{Digest: digestOf(content), Size: int64(len(content))}
}

// fetched stores a manifest that the upstream gave.
func (w world) fetched(r meta.Repo, p meta.ManifestPut, tags ...string) {
	w.t.Helper()
	w.must(w.tryFetched(r, p, tags...))
}

func (w world) tryFetched(r meta.Repo, p meta.ManifestPut, tags ...string) error {
	return w.Store.PutCached(w.t.Context(), meta.CachedPut{
		Repo: r, Manifest: p.Manifest, Parsed: p.Parsed, Tag: strings.Join(tags, ""), Keep: keep,
	})
}

// fill stores a blob that the upstream gave.
func (w world) fill(r meta.Repo, content string) meta.Blob {
	w.t.Helper()
	b, err := w.tryFill(r, content)
	w.must(err)
	return b
}

func (w world) tryFill(r meta.Repo, content string) (meta.Blob, error) {
	u, err := w.tryStage(r, content)
	if err != nil {
		return meta.Blob{}, err
	}
	if u, err = w.Store.SealUpload(w.t.Context(), u, digestOf(content)); err != nil {
		return meta.Blob{}, err
	}
	return w.Store.CommitUpload(w.t.Context(), meta.Cause{}, u, false)
}

func (w world) findCached(r meta.Repo, ref oci.Reference) (meta.Manifest, error) {
	if ref.Tag == "" {
		return w.Store.FindManifest(w.t.Context(), r, ref)
	}
	found, err := w.Store.FindCachedTag(w.t.Context(), r, ref.Tag)
	return found.Manifest, err
}

// nothingCached fails the test if any of this is found in r.
func (w world) nothingCached(r meta.Repo, d oci.Digest, tag, content string) {
	w.t.Helper()
	_, byTag := w.Store.FindCachedTag(w.t.Context(), r, tag)
	_, byDigest := w.Store.FindManifest(w.t.Context(), r, oci.Reference{Digest: d})
	_, naming := w.Store.FindNaming(w.t.Context(), r, digestOf(content))
	_, blob := w.Store.FindBlob(w.t.Context(), r, digestOf(content))
	for what, err := range map[string]error{"tag": byTag, "digest": byDigest, "naming": naming, "blob": blob} {
		if fault.KindOf(err) != fault.NotFound {
			w.t.Errorf("%s in %+v: %v", what, r, err)
		}
	}
}

// cacheClosed fails the test unless every way to write into r is closed. u is an
// open session there.
func (w world) cacheClosed(r meta.Repo, u meta.Upload, image meta.ManifestPut) {
	w.t.Helper()
	fresh := r
	fresh.Name = "fresh"
	for _, r := range []meta.Repo{r, fresh} {
		w.refused(w.tryFetched(r, image, "v1"), fault.NotFound, fault.NameUnknown)
		_, err := w.Store.LinkBlob(w.t.Context(), r, digestOf("config"))
		w.refused(err, fault.NotFound, fault.NameUnknown)
		_, err = w.Store.CreateUpload(w.t.Context(), r, oci.SHA256)
		w.refused(err, fault.NotFound, fault.NameUnknown)
		w.refused(w.Store.ConfirmCachedTag(w.t.Context(), r, "v1", image.Manifest.Digest), fault.NotFound, fault.NameUnknown)
		w.must(w.Store.DropCachedTag(w.t.Context(), r, "v1"))
		w.must(w.Store.RecordPulls(w.t.Context(), []meta.CachedPull{{Repo: r, Digest: image.Manifest.Digest, Keep: keep}}))
	}
	_, err := w.Store.TakeUpload(w.t.Context(), r, u.ID, -1)
	w.refused(err, fault.NotFound, fault.BlobUploadUnknown)
	_, err = w.Store.SealUpload(w.t.Context(), u, digestOf("unfinished"))
	w.refused(err, fault.NotFound, fault.BlobUploadUnknown)
}

func (w world) claimed(want bool, name string, registries ...tenant.RegistryID) {
	w.t.Helper()
	if got, err := w.Store.ClaimedBy(w.t.Context(), w.tenant, registries, name); err != nil || got != want {
		w.t.Errorf("%q is claimed by one of %v: %t, %v", name, registries, got, err)
	}
}
