package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/pause"
)

func layer(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func TestBlob_Found(t *testing.T) {
	content := layer(100_000)
	d := oci.DigestOf(oci.SHA256, content)
	for name, sized := range map[string]bool{"with Content-Length": true, "chunked": false} {
		c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/a/b/blobs/"+d.String() {
				t.Errorf("asked %s", r.URL)
			}
			if sized {
				w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			} else {
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = w.Write(content)
		})
		for _, size := range []int64{-1, int64(len(content))} {
			b, err := c.Blob(t.Context(), "a/b", d, size)
			if err != nil {
				t.Fatal(err)
			}
			want := int64(len(content))
			if size < 0 && !sized {
				want = -1
			}
			got, err := readAndClose(t, b)
			if err != nil || !bytes.Equal(got, content) || b.Size != want {
				t.Errorf("%s, size %d: %d bytes of %d, %v", name, size, len(got), b.Size, err)
			}
			if _, err := b.Read(make([]byte, 1)); err == nil || b.Close() != nil {
				t.Error("a closed body can be read, or not be closed again")
			}
		}
	}
}

func TestHasBlob(t *testing.T) {
	for status, want := range map[int]Outcome{200: Found, 404: NotHere, 403: Denied, 500: Outage} {
		for _, length := range []string{"1234", ""} {
			c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodHead && status != http.StatusForbidden {
					t.Error(r.Method)
				}
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				w.WriteHeader(status)
			})
			size, err := c.HasBlob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil))
			if OutcomeOf(err) != want {
				t.Errorf("%d: %v", status, err)
			}
			if err == nil && size != map[string]int64{"1234": 1234, "": -1}[length] {
				t.Errorf("Content-Length %q is %d", length, size)
			}
		}
	}
}

// TestR39_WrongLength: a blob that does not have its size never ends cleanly.
func TestR39_WrongLength(t *testing.T) {
	const size = 50_000
	for _, sent := range []int{0, 1, size - 1, size + 1, 2 * size} {
		for name, sized := range map[string]bool{"honest Content-Length": true, "chunked": false} {
			c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
				if sized {
					w.Header().Set("Content-Length", strconv.Itoa(sent))
				} else {
					_ = http.NewResponseController(w).Flush()
				}
				_, _ = w.Write(layer(sent))
			})
			b, err := c.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil), size)
			if err == nil {
				var got []byte
				got, err = readAndClose(t, b)
				if len(got) > size {
					t.Errorf("%s, %d: %d bytes came through", name, sent, len(got))
				}
			}
			if e := wantOutage(t, err); e.Fault().Kind != fault.BadUpstream {
				t.Errorf("%s, %d: %v", name, sent, err)
			}
			if c.Status().Failure == "" {
				t.Errorf("%s, %d: no failure recorded", name, sent)
			}
		}
	}
}

// TestR39_EndsOrStallsAnywhere: the connection closes, or nothing comes any more,
// at chance offsets.
func TestR39_EndsOrStallsAnywhere(t *testing.T) {
	const size = 200_000
	rnd := rand.New(rand.NewPCG(dice.Seed(t), 0))
	for i := range dice.Count(t, 12, 50) {
		stalls, sized, at := i%2 == 0, i%4 < 2, rnd.IntN(size)
		end := make(chan struct{})
		l := patient()
		if stalls {
			l = impatient()
		}
		c := serve(t, l, func(w http.ResponseWriter, r *http.Request) {
			if sized {
				w.Header().Set("Content-Length", strconv.Itoa(size))
			}
			_, _ = w.Write(layer(size)[:at])
			_ = http.NewResponseController(w).Flush()
			if stalls {
				<-end
			}
			panic(http.ErrAbortHandler)
		})
		start := time.Now()
		b, err := c.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil), size)
		if err == nil {
			_, err = readAndClose(t, b)
		}
		close(end)
		e := wantOutage(t, err)
		if e.Timeout != stalls || time.Since(start) > defaultLimits().window/2 {
			t.Errorf("at %d, stalls %v: %v after %v", at, stalls, err, time.Since(start))
		}
	}
}

// TestE13_TricklingBlob: bytes come, but so slowly that no one would wait for the
// last one.
func TestE13_TricklingBlob(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		l := impatient()
		cs := newClients(Options{}, l)
		cs.transport = trickling(time.Second / 50)
		start := time.Now()
		b, err := clientOf(t, cs, Config{Target: Target{URL: origin}}).Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil), 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAndClose(t, b)
		if e := wantOutage(t, err); !e.Timeout || len(got) == 0 || time.Since(start) > l.window {
			t.Errorf("%d bytes in %v: %v", len(got), time.Since(start), err)
		}
	})
}

// trickling sends a blob in which a byte follows the other after this time.
type trickling time.Duration

func (d trickling) RoundTrip(r *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	go func() {
		for pause.For(r.Context(), time.Duration(d)) == nil {
			_, _ = w.Write([]byte("x"))
		}
		w.CloseWithError(context.Cause(r.Context()))
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body, ContentLength: 1_000_000, Request: r}, nil
}

// TestBlob_SlowReader: the upstream is not blamed for a client that does not read.
func TestBlob_SlowReader(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		content := layer(20_000)
		l := patient()
		c := inMemory(t, l, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
		b, err := c.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, content), -1)
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 1)
		if _, err := io.ReadFull(b, first); err != nil {
			t.Fatal(err)
		}
		<-time.After(3 * l.window)
		rest, err := readAndClose(t, b)
		if err != nil || len(rest) != len(content)-1 {
			t.Errorf("%d bytes, %v", len(rest), err)
		}
	})
}

// TestBlob_TheCallerLeaves in the middle: the read ends, and the place is free.
func TestBlob_TheCallerLeaves(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	l := patient()
	l.blobs = 1
	l.window = time.Minute
	c := serve(t, l, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(layer(10))
		_ = http.NewResponseController(w).Flush()
		<-end
	})
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		b, err := c.Blob(ctx, "a/b", oci.DigestOf(oci.SHA256, nil), -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(b, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := readAndClose(t, b); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Unavailable {
			t.Error(err)
		}
	}
	if s := c.Status(); !s.FailedAt.IsZero() {
		t.Errorf("%+v", s)
	}
}

func TestBlob_FollowsToACDN(t *testing.T) {
	content := layer(1000)
	w, cs := newWorld()
	w.hosts[origin] = func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://cdn.example.net/blob?sig=abc%2Fdef", http.StatusTemporaryRedirect)
	}
	w.hosts["https://cdn.example.net"] = func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "sig=abc%2Fdef" {
			t.Errorf("the signature became %s", r.URL.RawQuery)
		}
		_, _ = rw.Write(content)
	}
	b, err := clientOf(t, cs, Config{Target: Target{URL: origin}}).Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAndClose(t, b); err != nil || !bytes.Equal(got, content) {
		t.Error(err)
	}
}
