package ldaplogin_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// strip is a server between, or one of its own, that talks in clear: it notes what it is sent.
type strip struct {
	mu   sync.Mutex
	sent []byte
}

// start serves each connection by the script, which gets a copy of what is read.
func (s *strip) start(t *testing.T, serve func(net.Conn, io.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				serve(conn, io.TeeReader(conn, s))
			})
		}
	})
	return l.Addr().String()
}

// Write notes what was sent.
func (s *strip) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, b...)
	return len(b), nil
}

func (s *strip) has(secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(string(s.sent), secret)
}

// result is a response with a result code.
func result(id int64, tag ber.Tag, code int) []byte {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	r.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	for range 2 {
		r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	}
	p.AppendChild(r)
	return p.Bytes()
}
