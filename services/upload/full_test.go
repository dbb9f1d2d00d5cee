package upload_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/upload"
	"github.com/berth-registry/berth/tools/testserver"
)

// onSmallDisk is the service with database and blobs on one disk.
func onSmallDisk(t *testing.T, size string, keep int64) client {
	t.Helper()
	d := fronttest.NewIn(t, testserver.SmallDisk(t, size), sqlitemeta.Options{}, fsblob.Options{MinFree: keep})
	d.Serve(front.Services{Upload: upload.NewHandler(upload.New(upload.Config{Meta: d.Meta, Blobs: d.Blobs}), d.Middlewares()...)})
	return writerOf(t, d, "acme")
}

// objects is how many files the store holds.
func (c client) objects() int {
	c.t.Helper()
	n := 0
	if err := c.Blobs.List(c.t.Context(), func(blob.Stored) error { n++; return nil }); err != nil {
		c.t.Fatal(err)
	}
	return n
}

func isFull(t *testing.T, what string, a fronttest.Answer) {
	t.Helper()
	if a.Status != http.StatusInsufficientStorage || a.Code() != "STORAGE_FULL" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%s: %d %v %s, want 507", what, a.Status, a.Header, a.Body)
	}
}

// An upload that fills the disk ends with 507, and its bytes go at once; what is
// there can be read and deleted, and with room again all is as before.
func TestK1_UploadThatFillsTheDiskGoes(t *testing.T) {
	for name, cut := range map[string]func(client, []byte) fronttest.Answer{
		"PATCH": func(c client, p []byte) fronttest.Answer {
			a, err := c.stream(http.MethodPatch, c.start(""), bytes.NewReader(p))
			if err != nil {
				c.t.Fatal(err)
			}
			return a
		},
		"POST": func(c client, p []byte) fronttest.Answer {
			a, err := c.stream(http.MethodPost, c.uploads("?digest="+sha256Of(p).String()), bytes.NewReader(p))
			if err != nil {
				c.t.Fatal(err)
			}
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := onSmallDisk(t, "24m", 4<<20)
			kept := ocitest.Noise(1<<20, 1)
			c.mustStored(c.put(c.start(""), sha256Of(kept), kept), sha256Of(kept))
			isFull(t, "too much", cut(c, ocitest.Noise(40<<20, 2)))
			if n := c.objects(); n != 1 {
				t.Errorf("the store holds %d objects, want the one from before", n)
			}
			c.mustHold(kept)
			if err := c.Meta.DeleteBlob(t.Context(), fronttest.By(), c.repo(), sha256Of(kept)); err != nil {
				t.Errorf("delete: %v", err)
			}
			again := ocitest.Noise(2<<20, 3)
			c.mustStored(c.put(c.start(""), sha256Of(again), again), sha256Of(again))
			c.mustHold(again)
		})
	}
}

// A session is told that it is gone, and another upload of it starts again.
func TestK1_SessionIsOver(t *testing.T) {
	c := onSmallDisk(t, "16m", 4<<20)
	path := c.start("")
	expect(t, c.patch(path, 0, ocitest.Noise(1<<20, 1)), http.StatusAccepted, "")
	a, err := c.stream(http.MethodPatch, path, bytes.NewReader(ocitest.Noise(30<<20, 2)))
	if err != nil {
		t.Fatal(err)
	}
	isFull(t, "the rest", a)
	expect(t, c.send(http.MethodGet, path, ""), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	if n := c.objects(); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}

// Nothing is begun that has no room: at the start of a session, before the first
// byte of a blob that is said to be too large, and by mounts that become uploads.
func TestK2_RefusedEarly(t *testing.T) {
	c := onSmallDisk(t, "16m", 4<<20)
	kept := []byte("what is there")
	c.mustStored(c.put(c.start(""), sha256Of(kept), kept), sha256Of(kept))
	path := c.start("")
	large := ocitest.Noise(14<<20, 1)
	isFull(t, "a length that does not fit", c.send(http.MethodPost, c.uploads("?digest="+sha256Of(large).String()), string(large)))

	filler := filepath.Join(c.Dir, "filler")
	room, err := c.Blobs.Space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filler, make([]byte, room.Free-room.Keep), 0o600); err != nil {
		t.Fatal(err)
	}
	d := sha256Of([]byte("new")).String()
	isFull(t, "start", c.send(http.MethodPost, c.uploads(""), ""))
	isFull(t, "post", c.send(http.MethodPost, c.uploads("?digest="+d), "new"))
	isFull(t, "mount", c.send(http.MethodPost, c.uploads("?mount="+d+"&from=team/other"), ""))
	isFull(t, "patch", c.patch(path, 0, []byte("new")))
	c.mustHold(kept)
	other := c.in("team/other")
	other.auth = c.Token(c.site, access.ServiceAccount(c.site.Tenant, 0, "writer", access.Writer),
		access.Repository("team/app", access.Pull|access.Push), access.Repository("team/other", access.Pull|access.Push))
	a := other.send(http.MethodPost, other.uploads("?mount="+sha256Of(kept).String()+"&from=team/app"), "")
	other.mustStored(a, sha256Of(kept)) // it takes no room
	if err := c.Meta.DeleteBlob(t.Context(), fronttest.By(), c.repo(), sha256Of(kept)); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.mustStored(c.put(c.start(""), sha256Of([]byte("new")), []byte("new")), sha256Of([]byte("new")))
}
