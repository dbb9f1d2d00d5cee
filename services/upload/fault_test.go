package upload_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/upload"
)

// A blob whose object is lost, or has another size, is repaired by any client that
// pushes it next.
func TestPushHealsALostBlob(t *testing.T) {
	for name, harm := range map[string]func(file string) error{
		"missing": os.Remove,
		"cut":     func(file string) error { return os.Truncate(file, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, nil)
			want := []byte("lost and pushed again")
			first := c.PutBlob(c.repo(), want)
			files, err := filepath.Glob(filepath.Join(c.Dir, "o", "*", "*", first.Key.Incarnation.String()))
			if err != nil || len(files) != 1 {
				t.Fatalf("files %v, %v; want one", files, err)
			}
			if err := harm(files[0]); err != nil {
				t.Fatal(err)
			}
			c.mustStored(c.put(c.start(""), sha256Of(want), want), sha256Of(want))
			if healed := c.mustHold(want); healed.Key == first.Key {
				t.Error("the blob still points to the lost object")
			}
		})
	}
}

// A session whose bytes are lost cannot continue, and says so: the client starts
// again.
func TestLostSessionIsUnknown(t *testing.T) {
	c := serve(t, nil)
	path := c.start("")
	expect(t, c.patch(path, 0, []byte("lost")), http.StatusAccepted, "")
	if err := c.Blobs.Delete(t.Context(), c.session(path).Stage.Key, ""); err != nil {
		t.Fatal(err)
	}
	expect(t, c.patch(path, 4, []byte("more")), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	expect(t, c.put(path, oci.DigestOf(oci.SHA512, []byte("lost")), nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	expect(t, c.put(path, sha256Of([]byte("lost")), nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	c.mustLack(sha256Of([]byte("lost")))
}

// sick fails as long as it is told to.
type sick struct {
	upload.Meta
	upload.Blobs
	ill *atomic.Value // name of the method that fails
}

var errSick = fault.Down(errors.New("on purpose"), "the dependency")

func (s sick) fails(method string) error {
	if s.ill.Load() == method {
		return errSick
	}
	return nil
}

func (s sick) Append(ctx context.Context, st blob.Stage, src blob.Source, j blob.Journal) error {
	return errors.Join(s.fails("Append"), s.Blobs.Append(ctx, st, src, j))
}

func (s sick) Seal(ctx context.Context, st blob.Stage) (int64, error) {
	if err := s.fails("Seal"); err != nil {
		return 0, err
	}
	return s.Blobs.Seal(ctx, st)
}

func (s sick) Stat(ctx context.Context, k blob.Key) (int64, error) {
	if err := s.fails("Stat"); err != nil {
		return 0, err
	}
	return s.Blobs.Stat(ctx, k)
}

func (s sick) TakeUpload(ctx context.Context, r meta.Repo, id uuid.UUID, start int64) (meta.Upload, error) {
	if err := s.fails("TakeUpload"); err != nil {
		return meta.Upload{}, err
	}
	return s.Meta.TakeUpload(ctx, r, id, start)
}

func (s sick) AdvanceUpload(ctx context.Context, u meta.Upload, p blob.Progress) (meta.Upload, error) {
	if err := s.fails("AdvanceUpload"); err != nil {
		return u, err
	}
	return s.Meta.AdvanceUpload(ctx, u, p)
}

// SealUpload fails after it was done, as a lost answer does.
func (s sick) SealUpload(ctx context.Context, u meta.Upload, d oci.Digest) (meta.Upload, error) {
	sealed, err := s.Meta.SealUpload(ctx, u, d)
	return sealed, errors.Join(s.fails("SealUpload"), err)
}

func (s sick) FindTenantBlob(ctx context.Context, u meta.Upload) (meta.Blob, error) {
	b, err := s.Meta.FindTenantBlob(ctx, u)
	return b, errors.Join(s.fails("FindTenantBlob"), err)
}

// CommitUpload fails after it was done, as a lost answer does.
func (s sick) CommitUpload(ctx context.Context, by meta.Cause, u meta.Upload, heal bool) (meta.Blob, error) {
	b, err := s.Meta.CommitUpload(ctx, by, u, heal)
	return b, errors.Join(s.fails("CommitUpload"), err)
}

// Whatever fails on the way, the answer is 503 and says when to come back, and
// the client's next try goes through from where the session stands.
func TestR23_EveryOutageIsRetryable(t *testing.T) {
	var ill atomic.Value
	ill.Store("")
	c := serve(t, func(cfg *upload.Config) {
		s := sick{cfg.Meta, cfg.Blobs, &ill}
		cfg.Meta, cfg.Blobs = s, s
	})
	want := ocitest.Noise(100_000, 23)
	c.PutBlob(c.in("team/other").repo(), want) // so that there is a winner to examine
	for _, method := range []string{
		"TakeUpload", "AdvanceUpload", "Append", "SealUpload", "Seal", "FindTenantBlob", "Stat", "CommitUpload",
	} {
		path := c.start("")
		expect(t, c.patch(path, 0, want[:1000]), http.StatusAccepted, "")
		ill.Store(method)
		a := c.put(path, sha256Of(want), want[1000:])
		expect(t, a, http.StatusServiceUnavailable, "UNAVAILABLE")
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", method)
		}
		ill.Store("")
		rest := want[c.session(path).Stage.Offset:]
		c.mustStored(c.put(path, sha256Of(want), rest), sha256Of(want))
		c.mustHold(want)
	}
}

// watched is a store whose contents call seen at each read.
type watched struct {
	upload.Blobs
	seen func()
}

func (w watched) OpenStaged(ctx context.Context, st blob.Stage) (io.ReadCloser, error) {
	c, err := w.Blobs.OpenStaged(ctx, st)
	return watchedContent{c, w.seen}, err
}

type watchedContent struct {
	io.ReadCloser
	seen func()
}

func (c watchedContent) Read(p []byte) (int, error) {
	c.seen()
	return c.ReadCloser.Read(p[:1])
}

// A digest of another algorithm costs reading all bytes again; not for a client
// that has left.
func TestR45_ReadingBackEndsWhenTheClientLeaves(t *testing.T) {
	c := serve(t, nil)
	content := []byte("many bytes, read one by one")
	u := c.StageBlob(c.repo(), content)
	ctx, leave := context.WithCancel(t.Context())
	reads := 0
	s := upload.New(upload.Config{Meta: c.Meta, Blobs: watched{c.Blobs, func() {
		if reads++; reads == 3 {
			leave()
		}
	}}})
	_, err := s.CommitUpload(ctx, upload.CommitUploadRequest{Repo: c.repo(), ID: u.ID, Digest: oci.DigestOf(oci.SHA512, content), By: fronttest.By()})
	if fault.KindOf(err) != fault.Unavailable || reads != 3 {
		t.Errorf("%d reads, %v", reads, err)
	}
	if _, err := s.CommitUpload(t.Context(), upload.CommitUploadRequest{Repo: c.repo(), ID: u.ID, Digest: oci.DigestOf(oci.SHA512, content), By: fronttest.By()}); err != nil {
		t.Errorf("by a client that stays: %v", err)
	}
}
