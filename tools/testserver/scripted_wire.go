package testserver

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// rightBytes are those of the body that come right.
func (sc *scene) rightBytes() []byte {
	b := sc.honest.Body.Bytes()
	at := sc.at
	if at == 0 {
		at = int64(len(b)) / 2
	}
	return b[:min(at, int64(len(b)))]
}

// flush sends the header and what was written so far.
func (sc *scene) flush() { _ = http.NewResponseController(sc.w).Flush() } // a client that is gone heard enough

// wait answers nothing, or no more, until the client has left or the door is
// shut.
func (sc *scene) wait() {
	<-sc.r.Context().Done()
	panic(http.ErrAbortHandler)
}

// truncated leaves it to net/http to close a connection with a body that is
// short.
func (sc *scene) truncated() { sc.send(sc.honest.Code, sc.rightBytes()) }

func (sc *scene) stall() {
	sc.truncated()
	sc.flush()
	sc.wait()
}

func (sc *scene) drip() {
	sc.send(sc.honest.Code, nil)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, b := range sc.honest.Body.Bytes() {
		_, _ = sc.w.Write([]byte{b}) // a client that is gone ends the request
		sc.flush()
		select {
		case <-tick.C:
		case <-sc.r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// chunked sends some bytes without saying how many there will be.
func (sc *scene) chunked(b []byte) {
	sc.honest.Header().Del("Content-Length")
	sc.send(sc.honest.Code, b)
	sc.flush()
}

func (sc *scene) endless() {
	sc.chunked(sc.honest.Body.Bytes())
	filler := make([]byte, 32<<10)
	for sc.r.Context().Err() == nil {
		if _, err := sc.w.Write(filler); err != nil {
			break
		}
	}
	panic(http.ErrAbortHandler)
}

func (sc *scene) noEnd() {
	sc.chunked(sc.honest.Body.Bytes())
	sc.wait()
}

func (sc *scene) cut() {
	sc.chunked(sc.rightBytes())
	panic(http.ErrAbortHandler)
}

func (sc *scene) zipped() {
	sc.w.Header().Set("Content-Encoding", "gzip")
	sc.sendBody(ocitest.Gzip(sc.honest.Body.Bytes(), gzip.BestSpeed))
}

func (sc *scene) bomb() {
	sc.w.Header().Set("Content-Encoding", "gzip")
	sc.sendBody(gzipBomb())
}

// gzipBomb has 1024 members of 1 MiB each (RFC 1952, section 2.2).
var gzipBomb = sync.OnceValue(func() []byte {
	return bytes.Repeat(ocitest.Gzip(make([]byte, 1<<20), gzip.BestCompression), 1024)
})

// hijack takes the connection from net/http; the door closes it when it is shut.
func (sc *scene) hijack(do func(net.Conn)) {
	conn, _, err := http.NewResponseController(sc.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	defer context.AfterFunc(sc.r.Context(), func() { _ = conn.Close() })() // ends a Write
	do(conn)
}

func (sc *scene) noStatus() {
	sc.hijack(func(conn net.Conn) { _, _ = io.WriteString(conn, "<html>this was a proxy</html>\r\n") }) // the client may be gone
}

func (sc *scene) hugeHeaders() {
	sc.hijack(func(conn net.Conn) {
		_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n", sc.honest.Header().Get("Content-Type"), sc.honest.Body.Len())
		line := "X-Filler: " + strings.Repeat("x", 1000) + "\r\n"
		for n := 0; err == nil && n < 11<<20; n += len(line) {
			_, err = io.WriteString(conn, line)
		}
		if err == nil {
			_, _ = conn.Write(append([]byte("\r\n"), sc.honest.Body.Bytes()...)) // the client may be gone
		}
	})
}

func (sc *scene) resetAfterHeaders() {
	sc.hijack(func(conn net.Conn) {
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 %d OK\r\n", sc.honest.Code); err != nil {
			return
		}
		_ = sc.honest.Header().Write(conn) // the client may be gone
		_, _ = io.WriteString(conn, "\r\n")
		reset(conn)
	})
}

// alert is what a TLS server says to HTTP without TLS: handshake failure.
func alert(conn net.Conn) {
	go func() {
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 1024)); err == nil {
			_, _ = conn.Write([]byte{21, 3, 3, 0, 2, 2, 40}) // the client may be gone
		}
	}()
}
