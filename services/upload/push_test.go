package upload_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

func TestPushStreamed(t *testing.T) {
	c := serve(t, nil)
	want := ocitest.Noise(3<<20+1, 1)
	path := c.start("")
	a, err := c.stream(http.MethodPatch, path, bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, a, http.StatusAccepted, "")
	if a.Header.Get("Location") != path || a.Header.Get("Range") != fmt.Sprintf("0-%d", len(want)-1) {
		t.Errorf("headers %v", a.Header)
	}
	c.mustStored(c.put(path, sha256Of(want), nil), sha256Of(want))
	c.mustHold(want)
}

func TestPushChunked(t *testing.T) {
	c := serve(t, nil)
	want := ocitest.Noise(2<<20, 2)
	path := c.start("")
	at := 0
	for _, n := range []int{1, 4096, 1 << 20, 777} {
		expect(t, c.patch(path, at, want[at:at+n]), http.StatusAccepted, "")
		at += n
		c.mustOffset(path, at)
	}
	last := fmt.Sprintf("%d-%d", at, len(want)-1)
	a := c.send(http.MethodPut, path+"?digest="+sha256Of(want).String(), string(want[at:]), "Content-Range", last)
	c.mustStored(a, sha256Of(want))
	c.mustHold(want)
}

func TestPushByPut(t *testing.T) {
	c := serve(t, nil)
	for _, want := range [][]byte{nil, []byte("x"), ocitest.Noise(1<<20, 3)} {
		c.mustStored(c.put(c.start(""), sha256Of(want), want), sha256Of(want))
		c.mustHold(want)
	}
}

func TestPushByPost(t *testing.T) {
	c := serve(t, nil)
	for _, want := range [][]byte{nil, []byte("x"), ocitest.Noise(1<<20, 4)} {
		d := sha256Of(want)
		c.mustStored(c.send(http.MethodPost, c.uploads("?digest="+d.String()), string(want)), d)
		c.mustHold(want)
	}
}

// A single POST that fails leaves no session behind, since no client knows its id.
func TestPushByPostLeavesNothing(t *testing.T) {
	c := serve(t, nil)
	d := sha256Of([]byte("claimed"))
	expect(t, c.send(http.MethodPost, c.uploads("?digest="+d.String()), "sent"), http.StatusBadRequest, "DIGEST_INVALID")
	c.mustLack(d)
	rows, err := c.Meta.ListObjects(t.Context(), blob.Key{}, 10)
	if err != nil || len(rows) != 1 || rows[0].State != 'D' {
		t.Errorf("objects %+v, %v; want one that is condemned", rows, err)
	}
}

func TestPushSHA512(t *testing.T) {
	want := ocitest.Noise(1<<20, 5)
	d := oci.DigestOf(oci.SHA512, want)
	for name, query := range map[string]string{"declared": "?digest-algorithm=sha512", "not declared": ""} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, nil)
			path := c.start(query)
			expect(t, c.patch(path, 0, want[:1000]), http.StatusAccepted, "")
			expect(t, c.put(path, oci.DigestOf(oci.SHA512, nil), want[1000:]), http.StatusBadRequest, "DIGEST_INVALID")
			c.mustStored(c.put(path, d, nil), d)
			c.mustHoldAs(d, want)
		})
	}
	c := serve(t, nil)
	c.mustStored(c.send(http.MethodPost, c.uploads("?digest="+d.String()), string(want)), d)
	expect(t, c.send(http.MethodPost, c.uploads("?digest-algorithm=md5"), ""), http.StatusBadRequest, "DIGEST_INVALID")
}

func TestCancel(t *testing.T) {
	c := serve(t, nil)
	path := c.start("")
	expect(t, c.patch(path, 0, []byte("some")), http.StatusAccepted, "")
	expect(t, c.send(http.MethodDelete, path, ""), http.StatusNoContent, "")
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
		expect(t, c.send(method, path, ""), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	}
	expect(t, c.put(path, sha256Of([]byte("some")), nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
}

func TestCommittedUploadIsOver(t *testing.T) {
	c := serve(t, nil)
	path := c.start("")
	c.mustStored(c.put(path, sha256Of([]byte("all")), []byte("all")), sha256Of([]byte("all")))
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
		expect(t, c.send(method, path, ""), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	}
	c.mustHold([]byte("all"))
}

func TestMethods(t *testing.T) {
	c := serve(t, nil)
	for path, allow := range map[string]string{c.uploads(""): "POST", c.start(""): "DELETE, GET, PATCH, PUT"} {
		for _, method := range []string{http.MethodHead, http.MethodOptions, "PROPFIND"} {
			a := c.send(method, path, "")
			if a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q, want 405, %q", method, path, a.Status, a.Header.Get("Allow"), allow)
			}
		}
	}
}

// Every wrong chunk is refused, says where the session stands and leaves it
// there.
func TestWrongOffset(t *testing.T) {
	c := serve(t, nil)
	path := c.start("")
	expect(t, c.patch(path, 5, []byte("early")), http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
	expect(t, c.patch(path, 0, []byte("01234")), http.StatusAccepted, "")
	for _, at := range []int{0, 4, 6, 1 << 40} {
		a := c.patch(path, at, []byte("56789"))
		expect(t, a, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
		if a.Header.Get("Range") != "0-4" {
			t.Errorf("at %d: Range %q, want 0-4", at, a.Header.Get("Range"))
		}
		put := c.send(http.MethodPut, path+"?digest="+sha256Of([]byte("0123456789")).String(), "56789",
			"Content-Range", fmt.Sprintf("%d-%d", at, at+4))
		expect(t, put, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
	}
	c.mustStored(c.put(path, sha256Of([]byte("0123456789")), []byte("56789")), sha256Of([]byte("0123456789")))
}

func TestWrongLength(t *testing.T) {
	c := serve(t, nil)
	path := c.start("")
	for _, said := range []string{"0-3", "0-5"} {
		expect(t, c.send(http.MethodPatch, path, "01234", "Content-Range", said), http.StatusBadRequest, "SIZE_INVALID")
		a, err := c.stream(http.MethodPatch, path, strings.NewReader("01234"), "Content-Range", said)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, a, http.StatusBadRequest, "SIZE_INVALID")
		path = c.start("")
	}
	for _, said := range []string{"4-0", "-5", "0-", "a-b", "0-4-5", "0-99999999999999999999"} {
		expect(t, c.send(http.MethodPatch, path, "01234", "Content-Range", said), http.StatusBadRequest, "BLOB_UPLOAD_INVALID")
	}
	expect(t, c.patch(path, 0, []byte("01234")), http.StatusAccepted, "")
}

func TestR8_CommitAgain(t *testing.T) {
	c := serve(t, nil)
	want := ocitest.Noise(300_000, 6)
	path := c.start("")
	for range 3 {
		c.mustStored(c.put(path, sha256Of(want), want), sha256Of(want))
	}
	c.mustStored(c.put(path, sha256Of(want), nil), sha256Of(want))
	expect(t, c.put(path, sha256Of([]byte("other")), []byte("other")), http.StatusBadRequest, "DIGEST_INVALID")
	c.mustHold(want)
	found, err := c.Meta.FindTenant(t.Context(), c.site.TenantSlug)
	if err != nil || found.Used != int64(len(want)) {
		t.Errorf("the tenant uses %d bytes, %v; want %d", found.Used, err, len(want))
	}
}

// Chunks of odd sizes end with the right digest.
func TestR55_ChunkPlans(t *testing.T) {
	c := serve(t, nil)
	r := rand.New(rand.NewPCG(dice.Seed(t), 55))
	sizes := []int{1, 2, 4095, 4096, 256<<10 - 1, 256 << 10, 256<<10 + 1, 600_000}
	for range dice.Count(t, 10, 10_000) {
		want := ocitest.Noise(r.IntN(1<<20), r.Uint64())
		path := c.start("")
		at := 0
		for at < len(want) && r.IntN(8) > 0 {
			n := min(len(want)-at, sizes[r.IntN(len(sizes))])
			expect(t, c.patch(path, at, want[at:at+n]), http.StatusAccepted, "")
			at += n
		}
		c.mustStored(c.put(path, sha256Of(want), want[at:]), sha256Of(want))
		c.mustHold(want)
	}
}
