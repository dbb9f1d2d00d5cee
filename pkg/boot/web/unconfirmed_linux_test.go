package web

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const answerSize = 32 << 20

// answered is what a handler knows of an answer of answerSize when it ends.
type answered struct{ sent, unconfirmed int64 }

// serveAnswers tells ends of each answer, and returns a connection that asked for one, with a
// small buffer.
func serveAnswers(t *testing.T, ends chan<- answered) *net.TCPConn {
	t.Helper()
	name := filepath.Join(t.TempDir(), "blob")
	if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, answerSize)); err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		var sent int64
		OnSent(r.Context(), func(n int64) time.Duration {
			sent += n
			return 0
		})
		w.Header().Set("Content-Length", fmt.Sprint(answerSize))
		_, _ = io.Copy(w, f)
		ends <- answered{sent, Unconfirmed(r.Context())}
	})
	c := dial(t, s).(*net.TCPConn)
	if err := c.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	return c
}

// TestW252_WhatAClientDidNotConfirm has clients that read a part of an answer and leave: what
// the system took for them and could not deliver is known. Of one that stays it is nothing.
func TestW252_WhatAClientDidNotConfirm(t *testing.T) {
	t.Parallel()
	const part, room = 8 << 20, 512 << 10
	for _, read := range []int64{part, answerSize} {
		ends := make(chan answered, 1)
		c := serveAnswers(t, ends)
		if _, err := io.CopyN(io.Discard, c, read); err != nil {
			t.Fatal(err)
		}
		if read == part {
			_ = c.Close()
		}
		got := <-ends
		if left := got.sent - got.unconfirmed; left < read || left > read+room || read == answerSize && got.unconfirmed != 0 {
			t.Errorf("%d bytes were sent, and %d not confirmed, of which the client read %d", got.sent, got.unconfirmed, read)
		}
	}
}

// TestW252_AClientThatSendsNoMoreReadsOn has one that closes its side, which is no sign that it
// left: nothing of what it then reads is taken off.
func TestW252_AClientThatSendsNoMoreReadsOn(t *testing.T) {
	t.Parallel()
	const late = 512 << 10 // less than what the system takes for it
	ends := make(chan answered, 1)
	c := serveAnswers(t, ends)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, c, answerSize-late); err != nil {
		t.Fatal(err)
	}
	got := <-ends
	rest, err := io.Copy(io.Discard, c)
	if err != nil || rest < late {
		t.Fatalf("%d bytes of the end, %v", rest, err)
	}
	if got.sent != answerSize || got.unconfirmed != 0 {
		t.Errorf("%d bytes were sent, and %d are taken off", got.sent, got.unconfirmed)
	}
}
