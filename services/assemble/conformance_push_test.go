package assemble_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// start opens an upload session; query is empty or begins with a question mark.
func (r repository) start(t *testing.T, query string) answer {
	t.Helper()
	return r.send(t, request{
		method: http.MethodPost, target: r.at("blobs/uploads/") + query,
	}).want(t, http.StatusAccepted)
}

// patch sends a chunk that is said to begin at the offset, and does not look
// at the answer.
func (r repository) patch(t *testing.T, location string, offset int, chunk []byte) answer {
	t.Helper()
	return r.send(t, request{method: http.MethodPatch, target: location, header: chunkHeaders(offset, chunk), body: chunk})
}

func chunkHeaders(offset int, chunk []byte) http.Header {
	return headers("Content-Type", typeBytes, "Content-Range", fmt.Sprintf("%d-%d", offset, offset+len(chunk)-1))
}

// finish closes a session with the last bytes, which may be none, and does not
// look at the answer.
func (r repository) finish(t *testing.T, location string, d digest.Digest, rest []byte) answer {
	t.Helper()
	return r.send(t, request{
		method: http.MethodPut, target: withQuery(t, location, "digest", d.String()),
		header: headers("Content-Type", typeBytes), body: rest,
	})
}

// postBlob pushes a blob in one request and does not look at the answer.
func (r repository) postBlob(t *testing.T, d digest.Digest, content []byte) answer {
	t.Helper()
	return r.send(t, request{
		method: http.MethodPost, target: withQuery(t, r.at("blobs/uploads/"), "digest", d.String()),
		header: headers("Content-Type", typeBytes), body: content,
	})
}

// wantStored fails the test unless the blob was made and its Location leads to
// it.
func (r repository) wantStored(t *testing.T, a answer, content []byte) {
	t.Helper()
	a.want(t, http.StatusCreated)
	r.get(t, a.location(t)).want(t, http.StatusOK).wantBody(t, content)
}

var uuidForm = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

var pushBlobRequirements = []requirement{
	{"POST then PUT", ours, "the HEAD before a push is answered by what is hosted, not by those that the registry asks", func(t *testing.T, r repository) {
		m := r.push(t, r.image(t, nil), "latest")
		chained, layer := r.inChained(), layerOf(t, m)
		for _, target := range []string{r.at("manifests/latest"), r.at("manifests/%s", m.Digest), r.at("blobs/%s", layer)} {
			chained.get(t, target).want(t, http.StatusOK)
			chained.head(t, target).want(t, http.StatusNotFound)
			a := chained.asNobody().head(t, target).want(t, http.StatusUnauthorized)
			if h := a.header.Get("WWW-Authenticate"); !strings.HasSuffix(h, `scope="repository:`+r.name+`:pull"`) {
				t.Errorf("%s: got WWW-Authenticate %q", a.what, h)
			}
			chained.asNobody().get(t, target).want(t, http.StatusOK)
		}
		chained.asNobody().head(t, chained.at("tags/list")).want(t, http.StatusOK)
	}},
	{"POST then PUT", must, "POST is 202 with a Location that holds a UUID", func(t *testing.T, r repository) {
		first, second := r.start(t, "").location(t), r.start(t, "").location(t)
		if !uuidForm.MatchString(first) || first == second {
			t.Errorf("got the locations %q and %q, want a UUID of its own in each", first, second)
		}
	}},
	{"POST then PUT", must, "PUT is 201 with a Location from which the blob is pulled", func(t *testing.T, r repository) {
		for _, size := range []int{0, 1, 512, 5<<20 + 1} {
			content := random(t, size)
			d := digest.FromBytes(content)
			r.wantStored(t, r.finish(t, r.start(t, "").location(t), d, content), content)
			r.wantBlob(t, d, content)
		}
	}},
	{"POST then PUT", must, "a body without Content-Length is taken", func(t *testing.T, r repository) {
		content := random(t, 100_000)
		a := r.send(t, request{
			method: http.MethodPut, target: withQuery(t, r.start(t, "").location(t), "digest", digest.FromBytes(content).String()),
			header: headers("Content-Type", typeBytes), stream: streamOf(content),
		})
		r.wantStored(t, a, content)
	}},
	{"POST then PUT", ours, "what is there already may be pushed again", func(t *testing.T, r repository) {
		d, content := r.blob(t, 100)
		r.wantStored(t, r.finish(t, r.start(t, "").location(t), d.Digest, content), content)
	}},
	{"POST then PUT", ours, "many clients may push one blob at once", func(t *testing.T, r repository) {
		content := random(t, 100_000)
		d := digest.FromBytes(content)
		statuses := make([]int, 8)
		var all sync.WaitGroup
		for i := range statuses {
			location := r.start(t, "").location(t)
			all.Go(func() { statuses[i] = r.finish(t, location, d, content).status })
		}
		all.Wait()
		for _, status := range statuses {
			if status != http.StatusCreated {
				t.Errorf("got statuses %v, want 201 for each", statuses)
				break
			}
		}
		r.wantBlob(t, d, content)
	}},
	{"Single POST", ours, "201 with a Location from which the blob is pulled", func(t *testing.T, r repository) {
		for _, size := range []int{0, 2, 512, 3 << 20} {
			content := random(t, size)
			d := digest.FromBytes(content)
			r.wantStored(t, r.postBlob(t, d, content), content)
			r.wantBlob(t, d, content)
		}
	}},
	{"Single POST", must, "the digest must match the body", func(t *testing.T, r repository) {
		d := digest.FromString("else")
		r.postBlob(t, d, []byte("something")).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		r.wantNoBlob(t, d)
	}},
	{"Pushing blobs", must, "PUT with a digest that does not match is refused, and the blob is not there", func(t *testing.T, r repository) {
		d := digest.FromString("else")
		r.finish(t, r.start(t, "").location(t), d, []byte("something")).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		r.wantNoBlob(t, d)

		location := r.patch(t, r.start(t, "").location(t), 0, []byte("something")).want(t, http.StatusAccepted).location(t)
		r.finish(t, location, d, nil).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		r.wantNoBlob(t, d)

		r.finish(t, r.start(t, "").location(t), d, nil).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		r.wantNoBlob(t, d)
	}},
	{"Pushing blobs", should, "a digest that is malformed, of another algorithm or missing is 400", func(t *testing.T, r repository) {
		content := []byte("content")
		for _, d := range []digest.Digest{"", "latest", "sha256:baddigeststring", "sha1:040f06fd774092478d450774f5ba30c5da78acc8", "sha384:00", "md5:9a0364b9e99bb480dd25e1f0284c8555"} {
			r.finish(t, r.start(t, "").location(t), d, content).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
			r.postBlob(t, d, content).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		}
		r.send(t, request{method: http.MethodPut, target: r.start(t, "").location(t), body: content}).
			want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
	}},
	{"Pushing blobs", ours, "a body that is compressed in transit is refused", func(t *testing.T, r repository) {
		location := r.start(t, "").location(t)
		for _, method := range []string{http.MethodPatch, http.MethodPut} {
			r.send(t, request{
				method: method, target: withQuery(t, location, "digest", absent.String()),
				header: headers("Content-Encoding", "gzip"), body: []byte("content"),
			}).want(t, http.StatusUnsupportedMediaType)
		}
	}},
	{"Pushing a blob in chunks", ours, "a digest of sha512 is taken, declared at the POST or not", func(t *testing.T, r repository) {
		for i, query := range []string{"?digest-algorithm=sha512", "", "?digest-algorithm=sha256"} {
			content := random(t, 10_000+i)
			d := digest.SHA512.FromBytes(content)
			location := r.patch(t, r.start(t, query).location(t), 0, content[:7000]).want(t, http.StatusAccepted).location(t)
			location = r.patch(t, location, 7000, content[7000:9000]).want(t, http.StatusAccepted).location(t)
			r.wantStored(t, r.finish(t, location, d, content[9000:]), content)
			r.wantBlob(t, d, content)
		}
		content := random(t, 512)
		d := digest.SHA512.FromBytes(content)
		r.wantStored(t, r.postBlob(t, d, content), content)
		r.wantBlob(t, d, content)
		r.wantNoBlob(t, digest.FromBytes(content))
		r.finish(t, r.start(t, "?digest-algorithm=sha512").location(t), digest.SHA512.FromString("else"), content).
			want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
	}},
	{"Pushing a blob in chunks", ours, "a sha256 digest is taken although sha512 was declared", func(t *testing.T, r repository) {
		content := random(t, 1000)
		location := r.patch(t, r.start(t, "?digest-algorithm=sha512").location(t), 0, content).want(t, http.StatusAccepted).location(t)
		r.wantStored(t, r.finish(t, location, digest.FromBytes(content), nil), content)
	}},
	{"Pushing a blob in chunks", should, "an algorithm that is not supported is 400", func(t *testing.T, r repository) {
		for _, algorithm := range []string{"", "md5", "SHA256", "sha512/256"} {
			r.send(t, request{method: http.MethodPost, target: withQuery(t, r.at("blobs/uploads/"), "digest-algorithm", algorithm)}).
				want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		}
	}},
}
