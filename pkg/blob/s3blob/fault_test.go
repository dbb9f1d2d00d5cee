package s3blob_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// attempts is how often one call is tried.
const attempts = 4

func openProxied(t testing.TB, o s3blob.Options) (*s3blob.Store, *proxy) {
	t.Helper()
	p := newProxy(t)
	o.PartBytes, o.Backoff = partBytes, 10*time.Millisecond
	return open(t, p.address, o), p
}

// calls are all calls of the store, each with an operation that makes it. The
// operation may be tried again after it failed.
var calls = map[string]func(*testing.T, *s3blob.Store) func() error{
	"PutObject": func(t *testing.T, s *s3blob.Store) func() error {
		x := newSession(t, s)
		return func() error { return x.append(t.Context(), bytes.NewReader([]byte("tail"))) }
	},
	"GetObject": func(t *testing.T, s *s3blob.Store) func() error {
		x := newSession(t, s)
		x.mustAppend([]byte("tail"))
		return func() error { return x.append(t.Context(), bytes.NewReader([]byte("more"))) }
	},
	"CreateMultipartUpload": func(t *testing.T, s *s3blob.Store) func() error {
		x := newSession(t, s)
		return func() error { return x.append(t.Context(), bytes.NewReader(ocitest.Noise(partBytes+1, 28))) }
	},
	"UploadPart": func(t *testing.T, s *s3blob.Store) func() error {
		x := newSession(t, s)
		x.mustAppend(ocitest.Noise(partBytes, 28))
		return func() error { return x.append(t.Context(), bytes.NewReader(ocitest.Noise(partBytes, 29))) }
	},
	"ListParts": func(t *testing.T, s *s3blob.Store) func() error {
		x := newSession(t, s)
		x.mustAppend(ocitest.Noise(partBytes, 28))
		return func() error { return x.append(t.Context(), bytes.NewReader([]byte("more"))) }
	},
	"CompleteMultipartUpload": func(t *testing.T, s *s3blob.Store) func() error {
		x := newSession(t, s)
		x.mustAppend(ocitest.Noise(partBytes+1, 28))
		return func() error { _, err := x.seal(); return err }
	},
	"HeadObject": func(t *testing.T, s *s3blob.Store) func() error {
		x := newSession(t, s)
		x.mustAppend([]byte("whole"))
		return func() error { _, err := x.seal(); return err }
	},
	"AbortMultipartUpload": func(t *testing.T, s *s3blob.Store) func() error {
		x := newSession(t, s)
		x.mustAppend(ocitest.Noise(partBytes, 28))
		return x.discard
	},
	"ListMultipartUploads": func(t *testing.T, s *s3blob.Store) func() error { return newSession(t, s).discard },
	"DeleteObject":         func(t *testing.T, s *s3blob.Store) func() error { return newSession(t, s).discard },
	"ListObjectsV2": func(t *testing.T, s *s3blob.Store) func() error {
		return func() error { return s.List(t.Context(), func(blob.Stored) error { return nil }) }
	},
	"HeadBucket": func(t *testing.T, s *s3blob.Store) func() error {
		x := newSession(t, s)
		return func() error {
			if _, err := s.Stat(t.Context(), x.stage.Key); !errors.Is(err, blob.ErrMissing) {
				return err
			}
			return nil
		}
	},
}

func TestR28_EveryCallIsRetriedThenUnavailable(t *testing.T) {
	t.Parallel()
	for call, prepare := range calls {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			s, p := openProxied(t, s3blob.Options{})
			for name, sick := range map[string]trick{
				"slow down": answer(http.StatusServiceUnavailable, "SlowDown"),
				"internal":  answer(http.StatusInternalServerError, "InternalError"),
				"cut":       cut,
			} {
				operation := prepare(t, s)
				p.play(call, sick)
				if err := operation(); !isDown(err) || errors.Is(err, blob.ErrMissing) {
					t.Errorf("%s: %v, want Unavailable", name, err)
				}
				if n := p.play(call, first(attempts-1, sick)); n < attempts || n > attempts+2 {
					t.Errorf("%s: tried %d times, want some %d", name, n, attempts)
				}
				if err := operation(); err != nil {
					t.Errorf("%s, %d times: %v", name, attempts-1, err)
				}
				p.play(call, nil)
			}
		})
	}
}

func TestR29_CompleteDecidesNothing(t *testing.T) {
	t.Parallel()
	lie := answer(http.StatusOK, "InternalError")
	for name, sick := range map[string]trick{
		"200 with an error body":       first(1, lie),
		"done, 200 with an error body": done(lie),
		"done, the answer is cut":      done(cut),
		"done, no answer":              done(hang),
		"done once, the answer is cut": first(1, done(cut)),
		"done once, no such upload":    first(1, done(answer(http.StatusNotFound, "NoSuchUpload"))),
		"done, refused for no reason":  done(answer(http.StatusBadRequest, "InvalidRequest")),
		"done, said to be other parts": done(answer(http.StatusBadRequest, "InvalidPart")),
		"done, said to be not allowed": done(answer(http.StatusForbidden, "AccessDenied")),
		"200 and an empty answer, done": done(func(w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) bool {
			w.WriteHeader(200)
			return true
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := openProxied(t, s3blob.Options{Patience: 300 * time.Millisecond})
			x := newSession(t, s)
			want := ocitest.Noise(partBytes+7, 29)
			x.mustAppend(want)
			p.play("CompleteMultipartUpload", sick)
			x.mustSeal(want)
			x.mustSeal(want)
		})
	}
}

func TestR29_WhatIsNotDoneIsNotSealed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		call    string
		sick    trick
		missing bool
	}{
		"200 with an error body": {"CompleteMultipartUpload", answer(http.StatusOK, "InternalError"), false},
		"200 and nothing": {"CompleteMultipartUpload", func(w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) bool {
			w.WriteHeader(200)
			return true
		}, false},
		"other parts":      {"CompleteMultipartUpload", answer(http.StatusBadRequest, "InvalidPart"), true},
		"another size":     {"HeadObject", altered("Content-Length", "17"), false},
		"another checksum": {"HeadObject", altered("X-Amz-Checksum-Crc32c", "AAAAAA==-2"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := openProxied(t, s3blob.Options{})
			x := newSession(t, s)
			want := ocitest.Noise(partBytes+7, 29)
			x.mustAppend(want)
			p.play(c.call, c.sick)
			if n, err := x.seal(); errors.Is(err, blob.ErrMissing) != c.missing || !c.missing && !isDown(err) {
				t.Errorf("seal: %d, %v; want it missing: %v", n, err, c.missing)
			}
			p.play(c.call, nil)
			x.mustSeal(want)
		})
	}
}

// altered passes a request on and alters a header of the answer, which has no
// body.
func altered(header, value string) trick {
	return func(w http.ResponseWriter, _ *http.Request, pass func(http.ResponseWriter)) bool {
		rec := httptest.NewRecorder()
		pass(rec)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		if rec.Code >= http.StatusMultipleChoices {
			w.WriteHeader(rec.Code)
			return true
		}
		w.Header().Set(header, value)
		w.WriteHeader(http.StatusOK) // rec may have taken "100 Continue" for the answer
		return true
	}
}

// The multipart upload disappears under a session: it cannot continue, and says so.
func TestR34_SessionWhoseUploadIsGone(t *testing.T) {
	t.Parallel()
	s, _ := openProxied(t, s3blob.Options{})
	for name, more := range map[string]int{"a part": partBytes, "a tail": 1} {
		x := newSession(t, s)
		x.mustAppend(ocitest.Noise(partBytes+3, 34))
		if err := s.Delete(t.Context(), x.stage.Key, x.stage.Multipart); err != nil {
			t.Fatal(err)
		}
		err := x.append(t.Context(), bytes.NewReader(ocitest.Noise(more, 35)))
		if err == nil {
			_, err = x.seal()
		}
		if !errors.Is(err, blob.ErrMissing) {
			t.Errorf("%s more: %v, want ErrMissing", name, err)
		}
	}
}

// A store that hangs, or takes a byte now and then, is given up; uploads that
// it serves continue meanwhile.
func TestR30_NoProgress(t *testing.T) {
	t.Parallel()
	const stall = 400 * time.Millisecond
	trickle := func(w http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) bool {
		tick := time.NewTicker(stall / 8)
		defer tick.Stop()
		enough := time.After(4 * stall)
		for {
			select {
			case <-tick.C:
				_, _ = r.Body.Read(make([]byte, 1))
			case <-enough:
				panic(http.ErrAbortHandler)
			}
		}
	}
	for name, sick := range map[string]trick{"hangs": hang, "trickles": trickle} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := openProxied(t, s3blob.Options{Stall: stall})
			x, other := newSession(t, s), newSession(t, s)
			want := ocitest.Noise(partBytes, 30)
			p.play("UploadPart", first(1, sick))
			var wg sync.WaitGroup
			wg.Go(func() { x.mustAppend(want) })
			wg.Go(func() { other.mustAppend([]byte("other")) })
			wg.Wait()
			x.mustSeal(want)
			other.mustSeal([]byte("other"))

			p.play("UploadPart", sick)
			y := newSession(t, s)
			if err := y.append(t.Context(), bytes.NewReader(want)); !isDown(err) {
				t.Errorf("append: %v, want Unavailable", err)
			}
		})
	}
}

// TestR30_ReadMakesNoProgress counts the requests of reads that stall. The stall is longer
// than a busy machine lets this process stand still.
func TestR30_ReadMakesNoProgress(t *testing.T) {
	t.Parallel()
	const stall = 2 * time.Second
	s, p := openProxied(t, s3blob.Options{Stall: stall})
	x := newSession(t, s)
	want := ocitest.Noise(partBytes/2, 30)
	x.mustAppend(want)
	x.mustSeal(want)
	sick := func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) bool {
		rec := httptest.NewRecorder()
		pass(rec)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()[:min(rec.Body.Len(), 1<<20)])
		w.(http.Flusher).Flush()
		if rec.Body.Len() > 1<<20 {
			<-r.Context().Done()
		}
		return true
	}
	p.play("GetObject", sick)
	x.mustHold(want) // each try brings some, the next continues from there
	if n := p.play("GetObject", sick); n != (len(want)+1<<20-1)>>20 {
		t.Errorf("%d bytes were read by %d requests, each of which brings 1 MiB", len(want), n)
	}

	c, err := s.Open(t.Context(), x.stage.Key)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p.play("GetObject", hang)
	if _, err := io.ReadAll(c); !isDown(err) {
		t.Errorf("read: %v, want Unavailable", err)
	}
	if n := p.play("GetObject", nil); n != attempts {
		t.Errorf("it was tried %d times again, want %d", n, attempts)
	}
}
