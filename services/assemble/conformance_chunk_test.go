package assemble_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/iotest"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
)

// streamOf hides the length of content, so that it is sent chunk by chunk.
func streamOf(content []byte) io.Reader {
	return struct{ io.Reader }{bytes.NewReader(content)}
}

// wantProgress fails the test unless the answer says where the session is and
// that it holds so many bytes. It returns the location.
func wantProgress(t *testing.T, a answer, status, size int) string {
	t.Helper()
	return a.want(t, status).wantHeader(t, "Range", fmt.Sprintf("0-%d", max(size-1, 0))).location(t)
}

// storedBytes is how much an answer about a session says it holds. Of one byte
// and none, which are said alike, it takes none.
func storedBytes(t *testing.T, a answer) int {
	t.Helper()
	var end int
	if _, err := fmt.Sscanf(a.header.Get("Range"), "0-%d", &end); err != nil {
		t.Fatalf("%s: got Range %q, want 0-<end>", a.what, a.header.Get("Range"))
	}
	if end == 0 {
		return 0
	}
	return end + 1
}

// errCut is what a client that breaks off says to itself.
var errCut = errors.New("cut off")

// cutOff begins a chunk and breaks the connection after the given bytes.
func (r repository) cutOff(t *testing.T, location string, begun []byte) {
	t.Helper()
	body := io.MultiReader(bytes.NewReader(begun), iotest.ErrReader(errCut))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, location, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.client.Do(req)
	if err == nil {
		_ = res.Body.Close()
	}
	if !errors.Is(err, errCut) {
		t.Fatalf("the request was not cut off: %v", err)
	}
}

// wantGone fails the test unless all that can be done to a session is 404.
func (r repository) wantGone(t *testing.T, location string) {
	t.Helper()
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		r.send(t, request{method: method, target: withQuery(t, location, "digest", absent.String()), body: []byte("x")}).
			want(t, http.StatusNotFound).wantCode(t, "BLOB_UPLOAD_UNKNOWN")
	}
}

var chunkRequirements = []requirement{
	{"Pushing a blob in chunks", must, "each chunk is 202 with Location and Range, an empty PUT closes", func(t *testing.T, r repository) {
		content := random(t, 3000)
		location := r.start(t, "").location(t)
		for offset := 0; offset < len(content); offset += 1000 {
			location = wantProgress(t, r.patch(t, location, offset, content[offset:offset+1000]), http.StatusAccepted, offset+1000)
		}
		r.wantStored(t, r.finish(t, location, digest.FromBytes(content), nil), content)
		r.wantBlob(t, digest.FromBytes(content), content)
	}},
	{"Pushing a blob in chunks", must, "the last chunk may come with the PUT", func(t *testing.T, r repository) {
		content := random(t, 2500)
		location := wantProgress(t, r.patch(t, r.start(t, "").location(t), 0, content[:1000]), http.StatusAccepted, 1000)
		location = wantProgress(t, r.patch(t, location, 1000, content[1000:2000]), http.StatusAccepted, 2000)
		a := r.send(t, request{
			method: http.MethodPut, target: withQuery(t, location, "digest", digest.FromBytes(content).String()),
			header: chunkHeaders(2000, content[2000:]), body: content[2000:],
		})
		r.wantStored(t, a, content)
	}},
	{"Pushing a blob in chunks", must, "the first chunk begins at 0, else 416", func(t *testing.T, r repository) {
		location := r.start(t, "").location(t)
		for _, offset := range []int{1, 1000, 1 << 40} {
			r.patch(t, location, offset, []byte("chunk")).want(t, http.StatusRequestedRangeNotSatisfiable)
		}
		wantProgress(t, r.get(t, location), http.StatusNoContent, 0)
	}},
	{"Pushing a blob in chunks", must, "a chunk that is skipped, repeated or overlaps is 416, and the upload continues", func(t *testing.T, r repository) {
		content := random(t, 3000)
		location := r.patch(t, r.start(t, "").location(t), 0, content[:1000]).want(t, http.StatusAccepted).location(t)
		for _, offset := range []int{2000, 0, 999, 1001} {
			r.patch(t, location, offset, content[offset:offset+999]).want(t, http.StatusRequestedRangeNotSatisfiable).
				wantHeader(t, "Range", "0-999").wantCode(t, "BLOB_UPLOAD_INVALID")
			location = wantProgress(t, r.get(t, location), http.StatusNoContent, 1000)
		}
		location = wantProgress(t, r.patch(t, location, 1000, content[1000:]), http.StatusAccepted, 3000)
		r.wantStored(t, r.finish(t, location, digest.FromBytes(content), nil), content)
	}},
	{"Pushing a blob in chunks", must, "a last chunk out of order is 416, and the upload continues", func(t *testing.T, r repository) {
		content := random(t, 2000)
		d := digest.FromBytes(content)
		location := r.patch(t, r.start(t, "").location(t), 0, content[:1000]).want(t, http.StatusAccepted).location(t)
		for _, offset := range []int{0, 1500} {
			r.send(t, request{
				method: http.MethodPut, target: withQuery(t, location, "digest", d.String()),
				header: chunkHeaders(offset, content[offset:]), body: content[offset:],
			}).want(t, http.StatusRequestedRangeNotSatisfiable)
		}
		location = wantProgress(t, r.get(t, location), http.StatusNoContent, 1000)
		r.wantStored(t, r.finish(t, location, d, content[1000:]), content)
	}},
	{"Pushing a blob in chunks", ours, "a Content-Range of another form, or another length than the chunk, is 400", func(t *testing.T, r repository) {
		location := r.start(t, "").location(t)
		for _, said := range []string{"0-3", "0-5", "bytes=0-4", "0", "-4", "0-", "4-0", "0-4-5", "0 - 4", "a-b", "0-99999999999999999999"} {
			r.send(t, request{
				method: http.MethodPatch, target: location, header: headers("Content-Range", said), body: []byte("chunk"),
			}).want(t, http.StatusBadRequest).wantCode(t, "BLOB_UPLOAD_INVALID", "SIZE_INVALID")
		}
		wantProgress(t, r.get(t, location), http.StatusNoContent, 0)
	}},
	{"Pushing a blob in chunks", should, "a chunk without Content-Range is appended, with or without a length", func(t *testing.T, r repository) {
		content := random(t, 300_000)
		location := r.start(t, "").location(t)
		a := r.send(t, request{method: http.MethodPatch, target: location, stream: streamOf(content[:200_000])})
		location = wantProgress(t, a, http.StatusAccepted, 200_000)
		a = r.send(t, request{method: http.MethodPatch, target: location, body: content[200_000:250_000]})
		location = wantProgress(t, a, http.StatusAccepted, 250_000)
		a = r.send(t, request{method: http.MethodPatch, target: location, stream: streamOf(content[250_000:])})
		location = wantProgress(t, a, http.StatusAccepted, 300_000)
		r.wantStored(t, r.finish(t, location, digest.FromBytes(content), nil), content)
	}},
	{"Pushing a blob in chunks", should, "an empty chunk changes nothing", func(t *testing.T, r repository) {
		content := []byte("content")
		location := wantProgress(t, r.send(t, request{method: http.MethodPatch, target: r.start(t, "").location(t)}), http.StatusAccepted, 0)
		location = wantProgress(t, r.patch(t, location, 0, content), http.StatusAccepted, len(content))
		location = wantProgress(t, r.send(t, request{method: http.MethodPatch, target: location}), http.StatusAccepted, len(content))
		r.wantStored(t, r.finish(t, location, digest.FromBytes(content), nil), content)
	}},
	{"Pushing a blob in chunks", must, "a blob of no bytes", func(t *testing.T, r repository) {
		d := digest.FromBytes(nil)
		location := r.send(t, request{method: http.MethodPatch, target: r.start(t, "").location(t)}).want(t, http.StatusAccepted).location(t)
		r.wantStored(t, r.finish(t, location, d, nil), nil)
		r.wantBlob(t, d, nil)
	}},
	{"Pushing a blob in chunks", must, "GET on a session is 204 with Location and Range", func(t *testing.T, r repository) {
		content := random(t, 1500)
		location := wantProgress(t, r.get(t, r.start(t, "").location(t)), http.StatusNoContent, 0)
		location = r.patch(t, location, 0, content[:700]).want(t, http.StatusAccepted).location(t)
		location = wantProgress(t, r.get(t, location), http.StatusNoContent, 700)
		location = r.patch(t, location, 700, content[700:]).want(t, http.StatusAccepted).location(t)
		location = wantProgress(t, r.get(t, location), http.StatusNoContent, 1500)
		r.wantStored(t, r.finish(t, location, digest.FromBytes(content), nil), content)
	}},
	{"Pushing a blob in chunks", must, "an upload that was cut off continues where GET says", func(t *testing.T, r repository) {
		content := random(t, 3<<20)
		location := r.start(t, "").location(t)
		r.cutOff(t, location, content[:1<<20])
		for attempt := 0; ; attempt++ {
			a := r.get(t, location).want(t, http.StatusNoContent)
			offset := storedBytes(t, a)
			a = r.patch(t, a.location(t), offset, content[offset:])
			if a.status == http.StatusAccepted {
				location = wantProgress(t, a, http.StatusAccepted, len(content))
				break
			}
			// The cut request may still have stored something in between.
			if a.want(t, http.StatusRequestedRangeNotSatisfiable); attempt == 10 {
				t.Fatal("the session's offset never holds")
			}
		}
		r.wantStored(t, r.finish(t, location, digest.FromBytes(content), nil), content)
	}},
	{"Pushing a blob in chunks", ours, "a session survives a PUT with a wrong digest", func(t *testing.T, r repository) {
		content := []byte("content")
		location := r.patch(t, r.start(t, "").location(t), 0, content).want(t, http.StatusAccepted).location(t)
		r.finish(t, location, absent, nil).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		location = wantProgress(t, r.get(t, location), http.StatusNoContent, len(content))
		r.wantStored(t, r.finish(t, location, digest.FromBytes(content), nil), content)
	}},
	{"Pushing a blob in chunks", ours, "a closing PUT may be repeated, another digest may not take its place", func(t *testing.T, r repository) {
		content := []byte("content")
		d := digest.FromBytes(content)
		location := r.start(t, "").location(t)
		r.wantStored(t, r.finish(t, location, d, content), content)
		r.wantStored(t, r.finish(t, location, d, content), content)
		r.finish(t, location, absent, content).want(t, http.StatusBadRequest, http.StatusNotFound)
		r.patch(t, location, 0, content).want(t, http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable)
	}},
	{"Endpoints", must, "a session that is not there is 404", func(t *testing.T, r repository) {
		r.blob(t, 1)
		r.wantGone(t, r.at("blobs/uploads/%s", uuid.New()))
		r.wantGone(t, r.at("blobs/uploads/no-uuid"))
	}},
	{"Endpoints", must, "a session of another repository is 404 and continues in its own", func(t *testing.T, r repository) {
		content := []byte("content")
		location := r.patch(t, r.start(t, "").location(t), 0, content).want(t, http.StatusAccepted).location(t)
		other := r.sibling("other")
		other.blob(t, 1)
		other.wantGone(t, other.at("blobs/uploads/%s", uuidForm.FindString(location)))
		r.wantStored(t, r.finish(t, location, digest.FromBytes(content), nil), content)
	}},
	{"Cancel a blob upload", should, "DELETE is 204, and the session is gone", func(t *testing.T, r repository) {
		empty := r.start(t, "").location(t)
		begun := r.patch(t, r.start(t, "").location(t), 0, []byte("content")).want(t, http.StatusAccepted).location(t)
		for _, location := range []string{empty, begun} {
			r.remove(t, location).want(t, http.StatusNoContent).wantBody(t, nil)
			r.wantGone(t, location)
		}
	}},
}
