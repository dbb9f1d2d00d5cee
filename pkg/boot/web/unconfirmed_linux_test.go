package web

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestW252_WhatAClientDidNotConfirm has clients that read a part of an answer and leave: what
// the system took for them and could not deliver is known. Of one that stays it is nothing.
func TestW252_WhatAClientDidNotConfirm(t *testing.T) {
	t.Parallel()
	const size, part, room = 32 << 20, 8 << 20, 512 << 10
	type end struct{ sent, unconfirmed int64 }
	ends := make(chan end, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var sent int64
		OnSent(r.Context(), func(n int64) time.Duration {
			sent += n
			return 0
		})
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.Copy(w, io.LimitReader(zeros{}, size))
		ends <- end{sent, Unconfirmed(r.Context())}
	})
	for _, read := range []int64{part, size} {
		c := dial(t, s)
		if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := io.CopyN(io.Discard, c, read); err != nil {
			t.Fatal(err)
		}
		if read == part {
			_ = c.Close()
		}
		got := <-ends
		if left := got.sent - got.unconfirmed; left < read || left > read+room || read == size && got.unconfirmed != 0 {
			t.Errorf("%d bytes were sent, and %d not confirmed, of which the client read %d", got.sent, got.unconfirmed, read)
		}
	}
}
