package s3blob_test

import (
	"bytes"
	"errors"
	"net/http"
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// A session that was read back continues, also when the first try fails halfway
// and the process that read it back died.
func TestR28_ReadBackSessionGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	for _, call := range []string{"CreateMultipartUpload", "UploadPart", "GetObject"} {
		x := newSession(t, s)
		want := ocitest.Noise(2*partBytes+7, 28)
		x.mustAppend(want[:2*partBytes+3])
		x.mustReadBack(want[:2*partBytes+3]) // which ends its multipart upload
		p.play(call, answer(http.StatusServiceUnavailable, "SlowDown"))
		if err := x.append(t.Context(), bytes.NewReader(want[2*partBytes+3:])); !isDown(err) || isMissing(err) {
			t.Errorf("%s fails: %v, want Unavailable", call, err)
		}
		p.play(call, nil)
		x.mustAppend(want[x.stage.Offset:])
		x.mustSeal(want)
	}
	if n := uploadsLeft(t, s); n != 0 {
		t.Errorf("%d multipart uploads are left", n)
	}
}

// A multipart upload is the session's from the COMMIT on that recorded it, also
// where the answer to that is lost: the next writer needs it.
func TestR23_SessionGoesOnAfterALostAnswerToItsMultipartUpload(t *testing.T) {
	t.Parallel()
	s := open(t, testserver.S3(t), s3blob.Options{PartBytes: partBytes})
	want := ocitest.Noise(3*partBytes+7, 23)
	for name, before := range map[string]func(*session){
		"first part": func(x *session) { x.mustAppend(want[:9]) },
		"read back": func(x *session) {
			x.mustAppend(want[:partBytes+9])
			x.mustReadBack(want[:partBytes+9])
		},
	} {
		x := newSession(t, s)
		before(x)
		x.unheard = true
		if err := x.append(t.Context(), bytes.NewReader(want[x.stage.Offset:])); !errors.Is(err, errForgotten) {
			t.Errorf("%s: the append with the lost answer: %v", name, err)
		}
		x.unheard = false
		if err := x.append(t.Context(), bytes.NewReader(want[x.stage.Offset:])); err != nil {
			t.Errorf("%s: the append after it: %v", name, err)
			continue
		}
		x.mustSeal(want)
	}
}

// Where the store calls the same bytes otherwise the second time, as one does
// that encrypts them, the session cannot continue, and says so.
func TestReadBackSessionOfAnotherETagIsMissing(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	x := newSession(t, s)
	want := ocitest.Noise(partBytes+3, 29)
	x.mustAppend(want)
	x.mustReadBack(want)
	p.play("UploadPart", altered("Etag", `"other"`))
	if err := x.append(t.Context(), bytes.NewReader([]byte("more"))); !isMissing(err) {
		t.Errorf("append: %v, want ErrMissing", err)
	}
	p.play("UploadPart", nil)
	if n := uploadsLeft(t, s); n != 0 {
		t.Errorf("%d multipart uploads are left", n)
	}
	x.mustSeal(want)
}

// uploadsLeft counts the multipart uploads that take room.
func uploadsLeft(t *testing.T, s *s3blob.Store) int {
	t.Helper()
	seen, left := make(map[blob.Key]bool), 0
	err := s.List(t.Context(), func(o blob.Stored) error {
		if o.Size == 0 || seen[o.Key] {
			left++
		}
		seen[o.Key] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}
