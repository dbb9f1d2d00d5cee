package web

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
)

// quick is the pace of these tests: the defaults, made short.
var quick = Pace{Grace: time.Second, MinIn: 1 << 10, MinOut: 1 << 20}

// limit is by when a slow client must have been cut.
const limit = 20 * time.Second

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	m, _ := newMiddleware(io.Discard)
	m.Pace = quick
	s := httptest.NewUnstartedServer(nil)
	s.Config = NewServer(m.Wrap(h), slog.New(slog.DiscardHandler))
	s.Config.ReadHeaderTimeout = quick.Grace
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func dial(t *testing.T, s *httptest.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return c
}

// drip writes one byte after the other until the server hangs up.
func drip(c net.Conn) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := c.Write([]byte("a")); err != nil {
			return err
		}
	}
	return nil
}

func cutInTime(t *testing.T, err error) {
	t.Helper()
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the slow client was not cut: %v", err)
	}
}

func TestA7_SlowHeaderIsCut(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a handler was reached") })
	c := dial(t, s)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nX: ")
	cutInTime(t, drip(c))
}

func TestA7_SlowBodyIsCut(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"with length": "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
		"chunked":     "PATCH / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed := make(chan error, 1)
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				failed <- err
				w.WriteHeader(http.StatusBadRequest)
			})
			c := dial(t, s)
			fmt.Fprint(c, head)
			cutInTime(t, drip(c))
			err := <-failed
			if !errors.Is(err, os.ErrDeadlineExceeded) || fault.KindOf(err) != fault.TooSlow {
				t.Errorf("the handler read %v", err)
			}
		})
	}
}

// A handler that answers without reading leaves net/http to read the rest.
func TestA7_SlowBodyThatNobodyReadsIsCut(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	c := dial(t, s)
	fmt.Fprint(c, "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
	cutInTime(t, drip(c))
}

func TestA7_SlowReaderIsCut(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.Copy(w, io.LimitReader(zeros{}, 1<<30))
		failed <- err
	})
	c := dial(t, s)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") // and never reads
	select {
	case err := <-failed:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the handler wrote until %v", err)
		}
	case <-time.After(limit):
		t.Error("the slow client was not cut")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func expectAnswer(t *testing.T, c net.Conn, want string) {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 200") || !strings.HasSuffix(string(buf[:n]), "\r\n\r\n"+want) {
		t.Fatalf("%q %v", buf[:n], err)
	}
}

// trickle gives a little at each tick.
type trickle struct{ tick <-chan time.Time }

func (r trickle) Read(p []byte) (int, error) {
	<-r.tick
	return zeros{}.Read(p[:min(len(p), 1000)])
}

// What a client has to wait for itself is not held against it.
func TestA7_SlowContentIsServed(t *testing.T) {
	t.Parallel()
	const size = 80 * 1000 // four times the grace
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		w.Header().Set("Content-Length", strconv.Itoa(size))
		if n, err := io.CopyN(w, trickle{tick.C}, size); n != size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); len(got) != size || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// An HTTP/2 stream may pause between two writes for longer than the grace.
func TestA7_HTTP2StreamMayPause(t *testing.T) {
	t.Parallel()
	m, _ := newMiddleware(io.Discard)
	m.Pace = quick
	s := httptest.NewUnstartedServer(m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		for range 2 {
			fmt.Fprint(w, "part")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			select {
			case <-time.After(2 * quick.Grace):
			case <-r.Context().Done():
				t.Error("the stream was reset")
			}
		}
	})))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	resp, err := s.Client().Post(s.URL, "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "partpart" || resp.ProtoMajor != 2 {
		t.Errorf("HTTP/%d %q %v", resp.ProtoMajor, body, err)
	}
}

// Slow connections take nothing from others, and all are gone in the end.
func TestA7_ManySlowOnes(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			fmt.Fprint(w, "ok")
		}
	})
	cut := make(chan error)
	slow := dice.Count(t, 100, 2000)
	for i := range slow {
		c := dial(t, s)
		head := "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
		if i%2 == 0 {
			head = "GET / HTTP/1.1\r\nHost: "
		}
		fmt.Fprint(c, head)
		go func() { cut <- drip(c) }()
	}
	for left := slow; left > 0; {
		select {
		case err := <-cut:
			cutInTime(t, err)
			left--
		default:
			resp, err := http.Post(s.URL, "text/plain", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(body) != "ok" {
				t.Fatalf("%q %v", body, err)
			}
		}
	}
}
