package s3blob_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// stored is an object of one piece and one of parts.
func stored(t *testing.T, s *s3blob.Store) map[string]struct {
	*session
	want []byte
} {
	all := make(map[string]struct {
		*session
		want []byte
	})
	for name, n := range map[string]int{"one piece": 1 << 20, "parts": 2*partBytes + 5, "whole parts": 2 * partBytes} {
		x, want := newSession(t, s), ocitest.Noise(n, 31)
		x.mustAppend(want)
		x.mustSeal(want)
		all[name] = struct {
			*session
			want []byte
		}{x, want}
	}
	return all
}

// An answer that breaks off is fetched again from there.
func TestR31_TruncatedReadGoesOn(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	r := rand.New(rand.NewPCG(dice.Seed(t), 31))
	for _, o := range stored(t, s) {
		p.play("GetObject", changed(func(_ http.Header, b []byte) []byte { return b[:r.IntN(len(b))+1] }))
		o.mustHold(o.want)
		p.play("GetObject", changed(func(http.Header, []byte) []byte { return nil }))
		if got, err := o.read(); !isDown(err) || len(got) > 0 {
			t.Errorf("nothing but headers: %d bytes, %v; want Unavailable", len(got), err)
		}
		p.play("GetObject", nil)
	}
}

// Whatever byte is wrong, a read of the whole does not end cleanly, and not
// after all bytes.
func TestR31_WrongBytesNeverEndCleanly(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	r := rand.New(rand.NewPCG(dice.Seed(t), 32))
	for name, o := range stored(t, s) {
		for _, at := range []int{0, len(o.want) - 1, r.IntN(len(o.want))} {
			p.play("GetObject", changed(func(_ http.Header, b []byte) []byte { b[at] ^= 1; return b }))
			if got, err := o.read(); err == nil || len(got) >= len(o.want) {
				t.Errorf("%s, byte %d: %d of %d bytes, %v; want an error", name, at, len(got), len(o.want), err)
			}
		}
		p.play("GetObject", nil)
	}
}

// An answer about another object, or another range, is none.
func TestR31_AnswerAboutSomethingElse(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	for name, change := range map[string]func(h http.Header, b []byte) []byte{
		"etag":  func(h http.Header, b []byte) []byte { h.Set("Etag", `"0123"`); return b },
		"range": func(h http.Header, b []byte) []byte { h.Set("Content-Range", "bytes 1-2/3"); return b },
		"short": func(h http.Header, b []byte) []byte { h.Set("Content-Length", "5"); return b[:5] },
		"long": func(h http.Header, b []byte) []byte {
			h.Del("Content-Length")
			return append(b, 'x')
		},
	} {
		for _, o := range stored(t, s) {
			c, err := s.Open(t.Context(), o.stage.Key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Seek(100, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			p.play("GetObject", changed(change))
			got, err := io.ReadAll(c)
			if !isDown(err) || !bytes.HasPrefix(o.want[100:], got) {
				t.Errorf("%s: %d bytes, %v; want Unavailable", name, len(got), err)
			}
			p.play("GetObject", nil)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A tail that comes back wrong never becomes part of a blob.
func TestR31_WrongTail(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	x := newSession(t, s)
	x.mustAppend([]byte("tail "))
	p.play("GetObject", changed(func(_ http.Header, b []byte) []byte { b[0] ^= 1; return b }))
	if err := x.append(t.Context(), bytes.NewReader([]byte("more"))); err == nil {
		t.Error("a wrong tail was taken")
	}
	if _, err := x.seal(); err == nil {
		t.Error("a wrong tail was sealed")
	}
	p.play("GetObject", nil)
	x.mustAppend([]byte("more"))
	x.mustSeal([]byte("tail more"))
}

// A store shows late what it has taken: the commit waits, and so does a reader.
func TestR33_ReadAfterWriteLag(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	lag := func() trick {
		visible := time.Now().Add(500 * time.Millisecond)
		return func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) bool {
			if time.Now().After(visible) {
				return false
			}
			return answer(http.StatusNotFound, "NoSuchKey")(w, r, pass)
		}
	}
	for _, n := range []int{10, partBytes + 10} {
		x, want := newSession(t, s), ocitest.Noise(n, 33)
		x.mustAppend(want[:5])
		p.play("GetObject", lag())
		x.mustAppend(want[5:])
		p.play("HeadObject", lag())
		if size, err := x.seal(); err != nil || size != int64(n) {
			t.Errorf("seal: %d, %v", size, err)
		}
		p.play("HeadObject", lag())
		x.mustHold(want)
		p.play("HeadObject", nil)
		p.play("GetObject", lag())
		x.mustHold(want)
		p.play("GetObject", nil)
	}
	x := newSession(t, s)
	x.mustAppend([]byte("never seen"))
	p.play("HeadObject", answer(http.StatusNotFound, "NoSuchKey"))
	if _, err := x.seal(); !isDown(err) || errors.Is(err, blob.ErrMissing) {
		t.Errorf("seal of what never shows: %v, want Unavailable", err)
	}
}

// A bucket that is gone does not make objects missing.
func TestR28_MissingBucketIsAnOutage(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	x := newSession(t, s)
	gone := answer(http.StatusNotFound, "NoSuchBucket")
	p.play("HeadObject", gone)
	p.play("HeadBucket", gone)
	p.play("GetObject", gone)
	if _, err := s.Stat(t.Context(), x.stage.Key); !isDown(err) || errors.Is(err, blob.ErrMissing) {
		t.Errorf("stat: %v, want Unavailable", err)
	}
	if _, err := s.Open(t.Context(), x.stage.Key); !isDown(err) || errors.Is(err, blob.ErrMissing) {
		t.Errorf("open: %v, want Unavailable", err)
	}
}
