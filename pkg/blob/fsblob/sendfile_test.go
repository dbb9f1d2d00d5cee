package fsblob_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
)

// watched is a connection that reports what it is asked to send.
type watched struct {
	*net.TCPConn
	sent chan<- io.Reader
}

// ReadFrom is where net/http leaves the copying to the connection.
func (w watched) ReadFrom(r io.Reader) (int64, error) {
	w.sent <- r
	return w.TCPConn.ReadFrom(r)
}

type watchedListener struct {
	net.Listener
	sent chan<- io.Reader
}

func (l watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return watched{c.(*net.TCPConn), l.sent}, nil
}

// http.ServeContent hands an open object to the connection in the one form
// that net turns into sendfile: an io.LimitedReader over a syscall.Conn.
func TestContentReachesSendfile(t *testing.T) {
	s, _ := openDir(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	st := blob.Stage{Key: blob.Key{Tenant: 1, Incarnation: uuid.New()}}
	src := &memory{}
	src.Reset(want)
	if err := s.Append(t.Context(), st, src, src); err != nil {
		t.Fatal(err)
	}
	sent := make(chan io.Reader, 4)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.Open(r.Context(), st.Key)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, c)
	}))
	srv.Listener = watchedListener{srv.Listener, sent}
	srv.Start()
	defer srv.Close()

	for _, rng := range []string{"", "bytes=100000-900000"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		expect := want
		if rng != "" {
			req.Header.Set("Range", rng)
			expect = want[100000:900001]
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, expect) {
			t.Fatalf("%q: %d bytes, %v; want %d, equal", rng, len(got), err, len(expect))
		}
		limited, ok := (<-sent).(*io.LimitedReader)
		if !ok {
			t.Fatalf("%q: the connection was not given a limited reader", rng)
		}
		if _, ok := limited.R.(syscall.Conn); !ok {
			t.Errorf("%q: %T is not a syscall.Conn: it is copied, not sent by sendfile", rng, limited.R)
		}
	}
}
