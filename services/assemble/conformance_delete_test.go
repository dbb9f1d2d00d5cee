package assemble_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

var deleteRequirements = []requirement{
	{"Deleting tags", must, "202, then 404; the manifest and its other tags stay", func(t *testing.T, r repository) {
		m := r.push(t, r.image(t, nil), "goes", "stays")
		r.remove(t, r.at("manifests/goes")).want(t, http.StatusAccepted)
		r.wantNoManifest(t, "goes")
		r.wantManifest(t, "stays", m)
		r.wantManifest(t, m.Digest.String(), m)
		got, a := r.tags(t, "")
		wantList(t, a, got, []string{"stays"})
	}},
	{"Deleting tags", must, "a tag that is not there is 404", func(t *testing.T, r repository) {
		r.remove(t, r.at("manifests/latest")).want(t, http.StatusNotFound) // no such repository
		r.push(t, r.image(t, nil), "latest")
		r.remove(t, r.at("manifests/latest")).want(t, http.StatusAccepted)
		r.remove(t, r.at("manifests/latest")).want(t, http.StatusNotFound).wantCode(t, "MANIFEST_UNKNOWN")
	}},
	{"Deleting tags", must, "the tag may be pushed again", func(t *testing.T, r repository) {
		m := r.push(t, r.image(t, nil), "latest")
		r.remove(t, r.at("manifests/latest")).want(t, http.StatusAccepted)
		r.push(t, m, "latest")
		r.wantManifest(t, "latest", m)
	}},
	{"Deleting Manifests", must, "202, then 404 by digest and by every tag", func(t *testing.T, r repository) {
		m := r.push(t, r.image(t, nil), "one", "two")
		other := r.push(t, r.image(t, nil), "other")
		r.remove(t, r.at("manifests/%s", m.Digest)).want(t, http.StatusAccepted)
		for _, reference := range []string{m.Digest.String(), "one", "two"} {
			r.wantNoManifest(t, reference)
		}
		r.wantManifest(t, "other", other)
		got, a := r.tags(t, "")
		wantList(t, a, got, []string{"other"})
	}},
	{"Deleting Manifests", must, "404 for a manifest and a repository that are not there", func(t *testing.T, r repository) {
		r.remove(t, r.at("manifests/%s", absent)).want(t, http.StatusNotFound)
		m := r.push(t, r.image(t, nil))
		r.remove(t, r.at("manifests/%s", absent)).want(t, http.StatusNotFound).wantCode(t, "MANIFEST_UNKNOWN")
		r.remove(t, r.at("manifests/%s", m.Digest)).want(t, http.StatusAccepted)
		r.remove(t, r.at("manifests/%s", m.Digest)).want(t, http.StatusNotFound).wantCode(t, "MANIFEST_UNKNOWN")
	}},
	{"Deleting Manifests", must, "a manifest may be pushed again, its blobs are still there", func(t *testing.T, r repository) {
		m := r.push(t, r.image(t, nil), "latest")
		r.remove(t, r.at("manifests/%s", m.Digest)).want(t, http.StatusAccepted)
		r.push(t, m, "latest")
		r.wantManifest(t, "latest", m)
	}},
	{"Deleting Manifests", ours, "by a digest of sha512", func(t *testing.T, r repository) {
		m := r.image(t, nil).in(digest.SHA512)
		r.putManifest(t, m.Digest.String()+"?tag=latest", m).want(t, http.StatusCreated)
		r.remove(t, r.at("manifests/%s", m.Digest)).want(t, http.StatusAccepted)
		r.wantNoManifest(t, m.Digest.String())
		r.wantNoManifest(t, "latest")
	}},
	{"Deleting Manifests", ours, "an index goes without its manifests", func(t *testing.T, r repository) {
		child := r.push(t, r.image(t, nil))
		list := r.push(t, index(t, nil, child), "list")
		r.remove(t, r.at("manifests/%s", list.Digest)).want(t, http.StatusAccepted)
		r.wantManifest(t, child.Digest.String(), child)
		r.push(t, list, "list")
	}},
	{"Deleting Manifests", ours, "Q10 a manifest that an index names is 405 and stays until that is deleted, whatever its tags", func(t *testing.T, r repository) {
		child := r.push(t, r.image(t, nil), "child")
		list := r.push(t, index(t, nil, child), "list")
		refused := func() {
			t.Helper()
			a := r.remove(t, r.at("manifests/%s", child.Digest)).want(t, http.StatusMethodNotAllowed).wantCode(t, "UNSUPPORTED")
			if want := `"detail":{"parents":["` + list.Digest.String() + `"]}`; !strings.Contains(string(a.body), want) {
				t.Errorf("%s, want %s", a.body, want)
			}
			r.wantManifest(t, "child", child)
			r.wantManifest(t, child.Digest.String(), child)
		}
		refused()
		r.remove(t, r.at("manifests/list")).want(t, http.StatusAccepted)
		refused()
		r.remove(t, r.at("manifests/%s", list.Digest)).want(t, http.StatusAccepted)
		r.remove(t, r.at("manifests/%s", child.Digest)).want(t, http.StatusAccepted)
		r.wantNoManifest(t, "child")
	}},
	{"Deleting Manifests", ours, "Q11 what an index names goes with force=true", func(t *testing.T, r repository) {
		child := r.push(t, r.image(t, nil), "child")
		list := r.push(t, index(t, nil, child), "list")
		r.remove(t, r.at("manifests/%s?force=maybe", child.Digest)).want(t, http.StatusBadRequest)
		r.remove(t, r.at("manifests/%s?force=false", child.Digest)).want(t, http.StatusMethodNotAllowed)
		r.remove(t, r.at("manifests/%s?force=true", child.Digest)).want(t, http.StatusAccepted)
		r.wantNoManifest(t, "child")
		r.wantManifest(t, "list", list)
	}},
	{"Deleting Blobs", must, "202, then 404", func(t *testing.T, r repository) {
		d, content := r.blob(t, 512)
		r.remove(t, r.at("blobs/%s", d.Digest)).want(t, http.StatusAccepted)
		r.wantNoBlob(t, d.Digest)
		r.blobOf(t, typeLayer, content)
		r.wantBlob(t, d.Digest, content)
	}},
	{"Deleting Blobs", must, "a blob that is not there is 404", func(t *testing.T, r repository) {
		r.remove(t, r.at("blobs/%s", absent)).want(t, http.StatusNotFound) // no such repository
		d, _ := r.blob(t, 512)
		r.remove(t, r.at("blobs/%s", absent)).want(t, http.StatusNotFound).wantCode(t, "BLOB_UNKNOWN")
		r.remove(t, r.at("blobs/%s", d.Digest)).want(t, http.StatusAccepted)
		r.remove(t, r.at("blobs/%s", d.Digest)).want(t, http.StatusNotFound).wantCode(t, "BLOB_UNKNOWN")
	}},
	{"Deleting Blobs", ours, "a blob that a manifest references is 405 and stays", func(t *testing.T, r repository) {
		m := r.push(t, r.image(t, nil), "latest")
		layer := layerOf(t, m)
		r.remove(t, r.at("blobs/%s", layer)).want(t, http.StatusMethodNotAllowed).wantCode(t, "UNSUPPORTED")
		r.head(t, r.at("blobs/%s", layer)).want(t, http.StatusOK)
		r.remove(t, r.at("manifests/latest")).want(t, http.StatusAccepted)
		r.remove(t, r.at("blobs/%s", layer)).want(t, http.StatusMethodNotAllowed)
		r.remove(t, r.at("manifests/%s", m.Digest)).want(t, http.StatusAccepted)
		r.remove(t, r.at("blobs/%s", layer)).want(t, http.StatusAccepted)
		r.wantNoBlob(t, layer)
	}},
	{"Deleting Blobs", ours, "the same blob in another repository stays", func(t *testing.T, r repository) {
		d, content := r.blob(t, 512)
		other := r.sibling("other")
		other.blobOf(t, typeLayer, content)
		r.remove(t, r.at("blobs/%s", d.Digest)).want(t, http.StatusAccepted)
		r.wantNoBlob(t, d.Digest)
		other.wantBlob(t, d.Digest, content)
	}},
	{"Content Management", should, "a digest that is malformed is refused", func(t *testing.T, r repository) {
		r.push(t, r.image(t, nil))
		r.remove(t, r.at("blobs/sha256:short")).want(t, http.StatusBadRequest, http.StatusNotFound).wantCode(t, "DIGEST_INVALID")
		r.remove(t, r.at("manifests/sha256:short")).want(t, http.StatusBadRequest, http.StatusNotFound).wantCode(t, "DIGEST_INVALID")
	}},
}
