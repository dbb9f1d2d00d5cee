package assemble_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/opencontainers/go-digest"
)

// mount asks for a blob of another repository; from may be empty. It does not
// look at the answer.
func (r repository) mount(t *testing.T, d digest.Digest, from string) answer {
	t.Helper()
	q := url.Values{"mount": {d.String()}}
	if from != "" {
		q.Set("from", from)
	}
	return r.send(t, request{method: http.MethodPost, target: r.at("blobs/uploads/?%s", q.Encode())})
}

var mountRequirements = []requirement{
	{"Mounting a blob from another repository", must, "201 with a Location from which the blob is pulled", func(t *testing.T, r repository) {
		source := r.sibling("source")
		d, content := source.blob(t, 512)
		a := r.mount(t, d.Digest, source.name).wantHeader(t, "Docker-Content-Digest", d.Digest.String())
		r.wantStored(t, a, content)
		r.wantBlob(t, d.Digest, content)
	}},
	{"Mounting a blob from another repository", ours, "without from, it is found where the caller may pull it", func(t *testing.T, r repository) {
		d, content := r.sibling("source").blob(t, 512)
		r.wantStored(t, r.mount(t, d.Digest, ""), content)
		r.wantBlob(t, d.Digest, content)
	}},
	{"Mounting a blob from another repository", ours, "a blob of sha512 is mounted like any other", func(t *testing.T, r repository) {
		source := r.sibling("source")
		content := random(t, 512)
		d := digest.SHA512.FromBytes(content)
		source.postBlob(t, d, content).want(t, http.StatusCreated)
		r.wantStored(t, r.mount(t, d, source.name), content)
	}},
	{"Mounting a blob from another repository", should, "202 and a session where the blob cannot be mounted", func(t *testing.T, r repository) {
		source := r.sibling("source")
		source.blob(t, 1)
		for _, from := range []string{source.name, r.sibling("missing").name, "NOT/a/name", ""} {
			content := random(t, 100)
			d := digest.FromBytes(content)
			location := r.mount(t, d, from).want(t, http.StatusAccepted).location(t)
			r.wantNoBlob(t, d)
			r.wantStored(t, r.finish(t, location, d, content), content)
		}
	}},
	{"Mounting a blob from another repository", should, "an invalid digest is 400", func(t *testing.T, r repository) {
		for _, d := range []digest.Digest{"latest", "sha256:short", "md5:9a0364b9e99bb480dd25e1f0284c8555"} {
			r.mount(t, d, "some/where").want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		}
	}},
	{"Mounting a blob from another repository", ours, "the blob stays when it is deleted at its source", func(t *testing.T, r repository) {
		source := r.sibling("source")
		d, content := source.blob(t, 512)
		r.mount(t, d.Digest, source.name).want(t, http.StatusCreated)
		source.remove(t, source.at("blobs/%s", d.Digest)).want(t, http.StatusAccepted)
		source.wantNoBlob(t, d.Digest)
		r.wantBlob(t, d.Digest, content)
	}},
}
