package s3blob_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
)

// A pull costs one request to the store, be it of all or of one range; net/http
// asks for the size by seeking to the end, which costs nothing.
func TestPullIsOneRequest(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	for name, o := range stored(t, s) {
		size := int64(len(o.want))
		for _, c := range []struct {
			header string
			first  blob.Range
			want   []byte
		}{
			{"", blob.Range{}, o.want},
			{"bytes=0-99", blob.Range{From: 0, To: 100}, o.want[:100]},
			{"bytes=700000-", blob.Range{From: 700_000, To: size}, o.want[700_000:]},
			{"bytes=-5", blob.Range{From: size - 5, To: size}, o.want[size-5:]},
		} {
			p.play("HeadObject", nil)
			p.play("GetObject", nil)
			opened, err := blob.OpenRange(t.Context(), s, o.stage.Key, c.first)
			if err != nil {
				t.Fatal(err)
			}
			if n := opened.Size(); n != size {
				t.Errorf("%s %q: size %d, want %d", name, c.header, n, size)
			}
			rec := serveContent(t, opened, c.header)
			if got := rec.Body.Bytes(); !bytes.Equal(got, c.want) {
				t.Errorf("%s %q: %d, %d bytes, want %d, equal", name, c.header, rec.Code, len(got), len(c.want))
			}
			if gets, heads := p.play("GetObject", nil), p.play("HeadObject", nil); gets != 1 || heads != 0 {
				t.Errorf("%s %q: %d GET and %d HEAD, want one GET", name, c.header, gets, heads)
			}
		}
	}
}

// What is read first is a hint: all else can be read, too.
func TestRangeIsAHint(t *testing.T) {
	t.Parallel()
	s, _ := openProxied(t, s3blob.Options{})
	o := stored(t, s)["parts"]
	opened, err := s.OpenRange(t.Context(), o.stage.Key, blob.Range{From: 10, To: 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened.Seek(15, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(opened); err != nil || !bytes.Equal(got, o.want[15:]) {
		t.Errorf("from the middle of the hint on: %d bytes, %v", len(got), err)
	}
	rec := serveContent(t, opened, "bytes=5-7,100-101")
	_, params, err := mime.ParseMediaType(rec.Header().Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(rec.Body, params["boundary"])
	for _, want := range [][]byte{o.want[5:8], o.want[100:102]} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(part); err != nil || !bytes.Equal(got, want) {
			t.Errorf("several ranges: %x, %v; want %x", got, err, want)
		}
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
}

// An object that is shorter than the caller knows is opened anyway: its
// size says what is wrong with it.
func TestR31_RangePastTheEndShowsTheSize(t *testing.T) {
	t.Parallel()
	s, _ := openProxied(t, s3blob.Options{})
	x := newSession(t, s)
	x.mustAppend([]byte("short"))
	x.mustSeal([]byte("short"))
	for _, r := range []blob.Range{{From: 100, To: 200}, {From: 2, To: 200}, {}} {
		c, err := s.OpenRange(t.Context(), x.stage.Key, r)
		if err != nil {
			t.Fatalf("%v: %v", r, err)
		}
		if n := c.Size(); n != 5 {
			t.Errorf("%v: size %d, want 5", r, n)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, r := range []blob.Range{{}, {From: 2, To: 4}} {
		if _, err := s.OpenRange(t.Context(), blob.Key{Tenant: 1, Incarnation: uuid.New()}, r); !isMissing(err) {
			t.Errorf("%v of nothing: %v, want ErrMissing", r, err)
		}
	}
}

func serveContent(t *testing.T, content io.ReadSeeker, header string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if header != "" {
		r.Header.Set("Range", header)
	}
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(rec, r, "", time.Time{}, content)
	return rec
}
