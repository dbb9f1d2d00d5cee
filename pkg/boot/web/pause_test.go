package web

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
)

// lenient is the pace of these tests. What is not a transfer ends in half a second.
var lenient = Pace{Grace: 300 * time.Millisecond, Bound: 600 * time.Millisecond, Pause: 30 * time.Second, MinIn: 1 << 10, MinOut: 1 << 20}

// still is a pause that only a transfer may make.
const still = 1200 * time.Millisecond

// serveAt is serve with another pace, and by TLS and HTTP/2 where that is wanted.
func serveAt(t *testing.T, p Pace, pauses *Pauses, http2 bool, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	m, _ := newMiddleware(io.Discard)
	m.Pace, m.Pauses = p, pauses
	s := httptest.NewUnstartedServer(nil)
	s.Config = NewServer(m.Wrap(h), slog.New(slog.DiscardHandler))
	if s.EnableHTTP2 = http2; http2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// takeIn is an upload of a tenant: its client may pause after the first byte.
func takeIn(w http.ResponseWriter, r *http.Request) {
	n, err := io.ReadFull(r.Body, make([]byte, 1))
	if err == nil {
		AllowPause(r.Context(), 1)
		var rest int64
		rest, err = io.Copy(io.Discard, r.Body)
		n += int(rest)
	}
	if err != nil {
		answer(w, err)
		return
	}
	fmt.Fprint(w, n)
}

func answer(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if fault.KindOf(err) == fault.TooSlow {
		status = http.StatusRequestTimeout
	}
	w.WriteHeader(status)
}

var bothProtocols = map[string]bool{"HTTP/1.1": false, "HTTP/2 over TLS": true}

func TestQ1_UploadPausesAndGoesOn(t *testing.T) {
	t.Parallel()
	for name, http2 := range bothProtocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveAt(t, lenient, nil, http2, takeIn)
			body, feed := io.Pipe()
			go func() {
				for range 3 {
					_, _ = feed.Write(bytes.Repeat([]byte("a"), 1000))
					<-time.After(still)
				}
				_ = feed.Close()
			}()
			resp, err := s.Client().Post(s.URL, "", body)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if string(got) != "3000" || err != nil {
				t.Errorf("%d %q %v", resp.StatusCode, got, err)
			}
		})
	}
}

// A slow body and a slow answer have one bound together.
func TestS16_BodyAndAnswerHaveOneBound(t *testing.T) {
	t.Parallel()
	pace := Pace{Grace: 4 * time.Second, Bound: 5 * time.Second, MinIn: 1 << 10, MinOut: 1 << 20}
	for name, http2 := range bothProtocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrote := make(chan time.Duration, 1)
			s := serveAt(t, pace, nil, http2, func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadAll(r.Body); err != nil {
					t.Error(err)
				}
				began := time.Now()
				if _, err := io.Copy(w, io.LimitReader(zeros{}, 1<<30)); err == nil {
					t.Error("the client has taken all")
				}
				wrote <- time.Since(began)
			})
			body, feed := io.Pipe()
			go func() {
				<-time.After(pace.Grace * 3 / 4)
				_ = feed.Close()
			}()
			resp, err := s.Client().Post(s.URL, "", body)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close() // and never reads it
			if took := <-wrote; took > pace.Grace*3/4 {
				t.Errorf("after a body of 3 s the answer had %s more", took)
			}
		})
	}
}

// A body of which nothing has come has the short bound, and so has one of
// something else; the answer is 408, and comes.
func TestQ5_OtherBodiesEndWith408(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"not begun": "", "begun": "some of it"} {
		for what, h := range map[string]http.HandlerFunc{
			"upload": takeIn,
			"small body": func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadAll(r.Body); err != nil {
					answer(w, err)
				}
			},
			"large answer": func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadAll(r.Body); err != nil {
					w.WriteHeader(http.StatusRequestTimeout)
					_, _ = w.Write(make([]byte, 100_000))
				}
			},
		} {
			if what == "upload" && body != "" {
				continue
			}
			for framing, head := range map[string]string{
				"length":  fmt.Sprintf("Content-Length: 1000\r\n\r\n%s", body),
				"chunked": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n3e8\r\n%s", body),
			} {
				t.Run(what+" "+name+" "+framing, func(t *testing.T) {
					t.Parallel()
					s := serveAt(t, lenient, nil, false, h)
					c := dial(t, s)
					fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\n%s", head)
					resp, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil {
						t.Fatal(err)
					}
					if resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
						t.Errorf("%d, closes: %v", resp.StatusCode, resp.Close)
					}
					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						t.Error(err)
					}
					hungUp(t, c)
				})
			}
		}
	}
}

// hungUp expects the server to end the connection.
func hungUp(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is never ended")
	}
}

// A handler that answers without reading, and more than net/http keeps, has the
// body read for it before the answer goes out.
func TestQ5_BodyThatNobodyReadsHoldsNoAnswerBack(t *testing.T) {
	t.Parallel()
	s := serveAt(t, lenient, nil, false, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 100_000))
	})
	c := dial(t, s)
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != 100_000 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	hungUp(t, c)
}

// The bound holds also for clients that keep the pace, and on listeners without
// Middleware; not for a transfer.
func TestQ5_BoundAlwaysHolds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		bare bool
		want int
	}{
		"small body": {func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				answer(w, err)
			}
		}, false, http.StatusRequestTimeout},
		"bare listener": {func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				answer(w, err)
			}
		}, true, http.StatusRequestTimeout},
		"transfer": {takeIn, false, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveAt(t, lenient, nil, false, c.h)
			if c.bare {
				s.Config.Handler = lenient.Wrap(c.h)
			}
			body, feed := io.Pipe()
			go func() {
				for range 40 { // two seconds at ten times the pace
					if _, err := feed.Write(make([]byte, 500)); err != nil {
						return
					}
					<-time.After(50 * time.Millisecond)
				}
				_ = feed.Close()
			}()
			resp, err := s.Client().Post(s.URL, "", body)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("%d, want %d", resp.StatusCode, c.want)
			}
		})
	}
}

// giveOut is a blob that a tenant's client reads, from a file or from elsewhere.
func giveOut(t *testing.T, size int64, fromFile bool, failed *atomic.Value) http.HandlerFunc {
	t.Helper()
	name := t.TempDir() + "/blob"
	f, err := os.Create(name)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		AllowPause(r.Context(), 1)
		f, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		var src io.Reader = f
		if !fromFile {
			src = struct{ io.Reader }{f}
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		if _, err := io.CopyN(w, src, size); err != nil {
			failed.CompareAndSwap(nil, err)
		}
	}
}

func TestQ2_DownloadPausesAndGoesOn(t *testing.T) {
	t.Parallel()
	const size = 48 << 20 // more than all buffers on the way
	for name, http2 := range bothProtocols {
		for _, fromFile := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " from a file: ", fromFile), func(t *testing.T) {
				t.Parallel()
				var failed atomic.Value
				s := serveAt(t, lenient, nil, http2, giveOut(t, size, fromFile, &failed))
				resp, err := s.Client().Get(s.URL)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				var total int64
				for range 3 {
					n, err := io.CopyN(io.Discard, resp.Body, 1<<20)
					total += n
					if err != nil {
						t.Fatal(err)
					}
					<-time.After(still)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				if total += n; total != size || err != nil || failed.Load() != nil {
					t.Errorf("%d bytes, %v, the handler: %v", total, err, failed.Load())
				}
			})
		}
	}
}

// Buffers of the system hide for a while that a client takes bytes; one that
// takes them steadily is neither ended nor counted as one that pauses.
func TestQ3_SteadyReaderIsNeverCut(t *testing.T) {
	t.Parallel()
	strict := lenient
	strict.Pause = strict.Grace // no more than others
	for _, secure := range []bool{false, true} {
		for _, fromFile := range []bool{true, false} {
			t.Run(fmt.Sprint("TLS: ", secure, " from a file: ", fromFile), func(t *testing.T) {
				t.Parallel()
				await.Undisturbed(t, strict.Grace/3, func() error { return readSteadily(t, strict, secure, fromFile) })
			})
		}
	}
}

func readSteadily(t *testing.T, strict Pace, secure, fromFile bool) error {
	const size, each = 16 << 20, 128 << 10
	var failed atomic.Value
	pauses := NewPauses(PauseLimits{}, nil)
	s := httptest.NewUnstartedServer(nil)
	m, _ := newMiddleware(io.Discard)
	m.Pace, m.Pauses = strict, pauses
	s.Config = NewServer(m.Wrap(giveOut(t, size, fromFile, &failed)), slog.New(slog.DiscardHandler))
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	defer s.Close()
	c := dial(t, s)
	if secure {
		trust := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		c = tls.Client(c, &tls.Config{RootCAs: trust, ServerName: "example.com", MinVersion: tls.VersionTLS13})
	}
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReaderSize(c, 4<<10), nil)
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond) // two and a half times the pace
	defer tick.Stop()
	var total int64
	for total < size {
		<-tick.C
		n, err := io.CopyN(io.Discard, resp.Body, each)
		total += n
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("after %d bytes: %w, the handler: %v", total, err, failed.Load())
		}
	}
	if n := pauses.Count(); n != 0 {
		return fmt.Errorf("%d pause", n)
	}
	return nil
}

// A transfer that pauses for longer than it may ends: the upload with 408.
func TestQ4_TooLongAPause(t *testing.T) {
	t.Parallel()
	brief := lenient
	brief.Pause = still
	t.Run("upload", func(t *testing.T) {
		t.Parallel()
		for name, http2 := range bothProtocols {
			s := serveAt(t, brief, nil, http2, takeIn)
			body, feed := io.Pipe()
			go func() { _, _ = feed.Write([]byte("some")) }()
			began := time.Now()
			resp, err := s.Client().Post(s.URL, "", body)
			if err != nil {
				t.Fatal(name, err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusRequestTimeout || time.Since(began) < still {
				t.Errorf("%s: %d after %s", name, resp.StatusCode, time.Since(began))
			}
			feed.Close()
		}
	})
	t.Run("download", func(t *testing.T) {
		t.Parallel()
		var failed atomic.Value
		s := serveAt(t, brief, nil, false, giveOut(t, 64<<20, true, &failed))
		c := dial(t, s)
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") // and never reads
		await.True(t, limit, "it is cut", func() bool { return failed.Load() != nil })
		if err := failed.Load().(error); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the handler wrote until %v", err)
		}
	})
}

// standStill begins an upload of a tenant and stands still.
func standStill(t *testing.T, s *httptest.Server) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := dial(t, s)
	fmt.Fprint(c, "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nsome")
	return c, bufio.NewReader(c)
}

func goOn(t *testing.T, c net.Conn, in *bufio.Reader) {
	t.Helper()
	fmt.Fprint(c, "more")
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("one that may pause: %v %v", resp, err)
	}
}

func wasCut(t *testing.T, in *bufio.Reader) {
	t.Helper()
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("the one that paused for longest: %v %v", resp, err)
	}
}

// Of more than a tenant may have, the one that has paused for longest ends, and
// so it does where connections run short.
func TestQ4_LongestPausedIsCutFirst(t *testing.T) {
	t.Parallel()
	metrics := prometheus.NewRegistry()
	pauses := NewPauses(PauseLimits{Tenant: 2}, metrics)
	s := serveAt(t, lenient, pauses, false, takeIn)
	first, fromFirst := standStill(t, s)
	await.True(t, limit, "the first pauses", func() bool { return pauses.Count() == 1 })
	second, fromSecond := standStill(t, s)
	await.True(t, limit, "the second pauses", func() bool { return pauses.Count() == 2 })
	third, fromThird := standStill(t, s)
	wasCut(t, fromFirst)
	hungUp(t, first)
	await.True(t, limit, "two pause", func() bool { return pauses.Count() == 2 })

	if !pauses.Relieve() {
		t.Error("nothing was ended")
	}
	wasCut(t, fromSecond)
	hungUp(t, second)
	goOn(t, third, fromThird)
	await.True(t, limit, "none pauses", func() bool { return pauses.Count() == 0 })
	if pauses.Relieve() {
		t.Error("something was ended that does not pause")
	}
	told := scrape(metrics)
	for _, line := range []string{`berth_slow_requests_ended_total{reason="too_many"} 2`, "berth_paused_transfers 0"} {
		if !strings.Contains(told, line) {
			t.Errorf("no %s in\n%s", line, told)
		}
	}
}

// Other tenants' pauses are their own, up to what the process has room for.
func TestQ4_PausesOfOthers(t *testing.T) {
	t.Parallel()
	pauses := NewPauses(PauseLimits{Tenant: 1, All: 2}, nil)
	var tenant atomic.Int64
	s := serveAt(t, lenient, pauses, false, func(w http.ResponseWriter, r *http.Request) {
		AllowPause(r.Context(), tenant.Add(1))
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			answer(w, err)
		}
	})
	_, fromFirst := standStill(t, s)
	await.True(t, limit, "the first pauses", func() bool { return pauses.Count() == 1 })
	second, fromSecond := standStill(t, s)
	await.True(t, limit, "the second pauses", func() bool { return pauses.Count() == 2 })
	third, fromThird := standStill(t, s)
	wasCut(t, fromFirst)
	goOn(t, second, fromSecond)
	goOn(t, third, fromThird)
}

// What ends a request ends nothing of the next on its connection.
func TestQ5_NextRequestOfTheConnection(t *testing.T) {
	t.Parallel()
	s := serveAt(t, lenient, nil, false, takeIn)
	c := dial(t, s)
	in := bufio.NewReader(c)
	for range 3 {
		fmt.Fprint(c, "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nsome")
		<-time.After(still)
		fmt.Fprint(c, "more")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK || string(got) != "8" || err != nil {
			t.Fatalf("%d %q %v", resp.StatusCode, got, err)
		}
		<-time.After(still / 2) // idle
	}
	fmt.Fprint(c, "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout || !strings.EqualFold(resp.Header.Get("Connection"), "close") && !resp.Close {
		t.Errorf("%v %v", resp, err)
	}
}
