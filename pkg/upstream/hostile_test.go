package upstream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/berth-registry/berth/pkg/oci"
)

// raw starts an upstream that says what no HTTP server would: it is given each
// connection after a request's header was read from it.
func raw(t *testing.T, talk func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					talk(conn)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// forever sends the piece until nothing listens.
func forever(w io.Writer, piece string) {
	for {
		if _, err := io.WriteString(w, piece); err != nil {
			return
		}
	}
}

// trickle sends a byte now and then.
func trickle(w io.Writer, flush func() error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(w, " "); err != nil || flush() != nil {
			return
		}
	}
}

func noFlush() error { return nil }

const okManifest = "HTTP/1.1 200 OK\r\nContent-Type: " + oci.MediaTypeImageManifest + "\r\n"

func pullManifest(t *testing.T, c *Client) error {
	_, err := c.Manifest(t.Context(), "a/b", latest)
	return err
}

func pullBlob(size int64) func(*testing.T, *Client) error {
	return func(t *testing.T, c *Client) error {
		b, err := c.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil), size)
		if err != nil {
			return err
		}
		defer b.Close()
		_, err = io.Copy(io.Discard, b)
		return err
	}
}

func listTags(t *testing.T, c *Client) error {
	_, err := allTags(t.Context(), c, 10_000)
	return err
}

// bomb is 64 MiB of spaces in 64 KiB.
func bomb() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for range 64 {
		_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	_ = z.Close()
	return b.Bytes()
}

// TestE13_HostileUpstreams: each fails within its time and costs little memory,
// and meanwhile another upstream answers as ever.
func TestE13_HostileUpstreams(t *testing.T) {
	t.Parallel()
	compressed := bomb()
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 1<<15, strings.Repeat(" ", 1<<15))
	challenge := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	served := func(h http.HandlerFunc) func(*testing.T) string {
		return func(t *testing.T) string {
			s := httptest.NewServer(h)
			t.Cleanup(s.Close)
			return s.URL
		}
	}
	talks := func(talk func(net.Conn)) func(*testing.T) string {
		return func(t *testing.T) string { return raw(t, talk) }
	}
	silent := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	for name, c := range map[string]struct {
		start func(*testing.T) string
		pull  func(*testing.T, *Client) error
	}{
		"endless manifest": {talks(func(c net.Conn) {
			fmt.Fprint(c, okManifest+"Transfer-Encoding: chunked\r\n\r\n")
			forever(c, chunk)
		}), pullManifest},
		"10 GiB manifest": {talks(func(c net.Conn) {
			fmt.Fprint(c, okManifest+"Content-Length: 10737418240\r\n\r\n")
			forever(c, chunk)
		}), pullManifest},
		"manifest that trickles": {talks(func(c net.Conn) {
			fmt.Fprint(c, okManifest+"Content-Length: 100000\r\n\r\n")
			trickle(c, noFlush)
		}), pullManifest},
		"blob that trickles": {talks(func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
			trickle(c, noFlush)
		}), pullBlob(100_000)},
		"header that trickles": {talks(func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nX: ")
			trickle(c, noFlush)
		}), pullBlob(-1)},
		"silence":       {talks(silent), pullManifest},
		"silence, blob": {talks(silent), pullBlob(-1)},
		"endless blob": {talks(func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			forever(c, chunk)
		}), pullBlob(1 << 20)},
		"endless header": {talks(func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			forever(c, "X-Filler: "+strings.Repeat("x", 1000)+"\r\n")
		}), pullManifest},
		"endless header line": {talks(func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nX: ")
			forever(c, strings.Repeat("x", 1000))
		}), pullManifest},
		"endless chunk header": {talks(func(c net.Conn) {
			fmt.Fprint(c, okManifest+"Transfer-Encoding: chunked\r\n\r\n")
			forever(c, "1;ext="+strings.Repeat("x", 3000)+"\r\nx\r\n")
		}), pullManifest},
		"endless 100 Continue": {talks(func(c net.Conn) { forever(c, "HTTP/1.1 100 Continue\r\n\r\n") }), pullManifest},
		"endless trailer": {talks(func(c net.Conn) {
			fmt.Fprint(c, okManifest+"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n")
			forever(c, "X: "+strings.Repeat("x", 1000)+"\r\n")
		}), pullManifest},
		"two lengths": {talks(func(c net.Conn) {
			fmt.Fprint(c, okManifest+"Content-Length: 10\r\nContent-Length: 20\r\n\r\n")
			forever(c, chunk)
		}), pullManifest},
		"not HTTP": {talks(func(c net.Conn) { forever(c, "SSH-2.0-OpenSSH_9.9\r\n") }), pullManifest},
		"gzip bomb, manifest": {served(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", oci.MediaTypeImageManifest)
			_, _ = w.Write(compressed)
		}), pullManifest},
		"gzip bomb, token": {served(func(w http.ResponseWriter, r *http.Request) {
			if !challenge(w, r) {
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(compressed)
			}
		}), pullManifest},
		"gzip bomb, blob": {served(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(compressed)
		}), pullBlob(1 << 20)},
		"endless token": {served(func(w http.ResponseWriter, r *http.Request) {
			if !challenge(w, r) {
				fmt.Fprint(w, `{"token":"`)
				forever(w, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
			}
		}), pullManifest},
		"token that trickles": {served(func(w http.ResponseWriter, r *http.Request) {
			if !challenge(w, r) {
				_ = http.NewResponseController(w).Flush()
				trickle(w, http.NewResponseController(w).Flush)
			}
		}), pullManifest},
		"thousands of challenges": {served(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", strings.Repeat("Bearer ", 9000))
			w.WriteHeader(http.StatusUnauthorized)
		}), pullManifest},
		"a million tags": {served(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"tags":["a"`+strings.Repeat(`,"v1.0.0"`, 1_000_000)+`]}`)
		}), listTags},
		"tags, page after page": {served(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", fmt.Sprintf(`<?last=%d>; rel="next"`, time.Now().UnixNano()))
			fmt.Fprint(w, `{"tags":["a"`+strings.Repeat(`,"a"`, 100)+`]}`)
		}), listTags},
		"an index of a million": {served(func(w http.ResponseWriter, _ *http.Request) {
			sendIndex(w, `{"schemaVersion":2,"manifests":[`+strings.TrimSuffix(strings.Repeat("{},", 1_000_000), ",")+"]}")
		}), func(t *testing.T, c *Client) error {
			_, err := c.Referrers(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil), 1000)
			return err
		}},
		"redirects to itself": {served(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}), pullManifest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cs := newClients(Options{Allow: loopback}, impatient())
			hostile := clientOf(t, cs, Config{Key: "hostile", Target: Target{URL: c.start(t)}})
			good := httptest.NewServer(http.HandlerFunc(sendImage))
			defer good.Close()
			done := make(chan error, 1)
			start := time.Now()
			go func() { done <- c.pull(t, hostile) }()
			if err := pullManifest(t, clientOf(t, cs, Config{Key: "good", Target: Target{URL: good.URL}, Limits: Limits{Response: 20 * time.Second}})); err != nil {
				t.Errorf("another upstream suffers: %v", err)
			}
			wantOutage(t, <-done)
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("failed after %v", took)
			}
		})
	}
}

// TestE13_MemoryIsBounded: many endless answers at once cost what they may have,
// and not what they send.
func TestE13_MemoryIsBounded(t *testing.T) {
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 1<<15, strings.Repeat(" ", 1<<15))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	url := raw(t, func(c net.Conn) {
		fmt.Fprint(c, okManifest+"Transfer-Encoding: chunked\r\n\r\n")
		forever(c, chunk)
	})
	c := clientOf(t, newClients(Options{Allow: loopback}, patient()), Config{Target: Target{URL: url}})
	for range 20 {
		wantOutage(t, pullManifest(t, c))
	}
	err := pullBlob(64<<20)(t, c)
	wantOutage(t, err)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 32<<20 {
		t.Errorf("the heap in use grew by %d MiB", grown>>20)
	}
	if grown := int64(after.Sys) - int64(before.Sys); grown > 128<<20 {
		t.Errorf("memory grew by %d MiB at most", grown>>20)
	}
}

// TestE13_BadHTTP2: settings and frames that break the rules end the request.
func TestE13_BadHTTP2(t *testing.T) {
	t.Parallel()
	for name, talk := range map[string]func(*http2.Framer, net.Conn){
		"a frame size of nothing": func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0})
		},
		"a window beyond all": func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		},
		"no window, no streams": func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		},
		"a flood of settings": func(f *http2.Framer, _ net.Conn) {
			for f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}) == nil {
			}
		},
		"a flood of pings": func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteSettings()
			for f.WritePing(false, [8]byte{}) == nil {
			}
		},
		"endless continuation": func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteSettings()
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}})
			for f.WriteContinuation(1, false, bytes.Repeat([]byte{0x40, 1, 'a', 1, 'b'}, 1000)) == nil {
			}
		},
		"data before all": func(f *http2.Framer, _ net.Conn) { _ = f.WriteData(1, false, []byte("x")) },
		"a push": func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteRawFrame(http2.FramePushPromise, 4, 1, []byte{0, 0, 0, 2, 0x88})
		},
		"a frame too long": func(f *http2.Framer, _ net.Conn) { _ = f.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<23)) },
		"not HTTP/2":       func(_ *http2.Framer, c net.Conn) { forever(c, "HTTP/1.1 200 OK\r\n\r\n") },
		"going away":       func(f *http2.Framer, _ net.Conn) { _ = f.WriteSettings(); _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(nil)
			s.EnableHTTP2 = true
			s.StartTLS() // for its certificate
			defer s.Close()
			roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						defer context.AfterFunc(t.Context(), func() { _ = conn.Close() })() // the client keeps some
						go talk(http2.NewFramer(conn, conn), conn)
						_, _ = io.Copy(io.Discard, conn)
					}()
				}
			}()
			cs := newClients(Options{Allow: loopback}, impatient())
			cs.transport = egress{guard: guard{allow: loopback}, limits: impatient(), roots: always(roots)}.transport()
			c := clientOf(t, cs, Config{Target: Target{URL: "https://" + l.Addr().String()}})
			start := time.Now()
			wantOutage(t, pullManifest(t, c))
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("failed after %v", took)
			}
		})
	}
}
