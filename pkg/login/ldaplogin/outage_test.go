package ldaplogin_test

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/tools/testserver"
)

// patience is how long what should end may take.
const patience = 20 * time.Second

// dials notes which addresses are connected to.
type dials struct {
	mu  sync.Mutex
	all []string
}

func (d *dials) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	d.all = append(d.all, address)
	d.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, address)
}

// taken returns those since the last call.
func (d *dials) taken() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.all
	d.all = nil
	return all
}

// TestV8_AnotherServerIsAsked where one is down, hangs, or fails TLS, and the server that
// could not be asked comes last for a while.
func TestV8_AnotherServerIsAsked(t *testing.T) {
	s, hangs := start(t), testserver.StartSink(t)
	for name, first := range map[string]string{
		"down": testserver.FreeAddr(t), "hangs": hangs.Addrs()[0], "no TLS": s.Addr(),
	} {
		t.Run(name, func(t *testing.T) {
			var d dials
			now := newClock()
			settings := bySearch(s)
			settings.Servers, settings.Timeout = []string{"ldaps://" + first, s.TLSURL()}, 2*time.Second
			c, err := ldaplogin.New(ldaplogin.Options{Settings: settings, Dial: d.dial, Now: now.Now})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			subject := found(t, c, "alice", aliceSecret).Subject
			if all := d.taken(); len(all) == 0 || all[0] != first {
				t.Errorf("connected to %v, want %s first", all, first)
			}
			now.pass(29 * time.Second)
			refused(t, c, "alice", "a wrong secret")
			again(t, c, subject)
			if all := d.taken(); slices.Contains(all, first) {
				t.Errorf("connected to %v: it is known to be down", all)
			}
			now.pass(time.Minute) // also of connections that wait
			again(t, c, subject)
			if all := d.taken(); len(all) == 0 || all[0] != first {
				t.Errorf("connected to %v, want %s first again", all, first)
			}
		})
	}
}

// TestV8_AnOutageIsNotUnknown, ends in time, is not remembered, and says of no person that
// the person is gone: a directory that is down, hangs, or stops in the middle of an answer.
func TestV8_AnOutageIsNotUnknown(t *testing.T) {
	s := start(t)
	settings := bySearch(s)
	settings.Timeout = 2 * time.Second
	c, _ := open(t, settings)
	people, _ := open(t, byDN(s))
	subject := found(t, c, "bob", bobSecret).Subject // a connection waits

	s.Pause()
	down(t, c, patience)
	s.Resume()
	again(t, c, subject)
	found(t, c, "alice", aliceSecret)
	refused(t, c, "alice", "a wrong secret")

	again(t, c, subject) // a connection waits
	s.Stop()
	if p, err := c.Find(t.Context(), subject); !isOutage(err) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, secret := range []string{aliceSecret, "another wrong secret"} {
		if p, err := people.Authenticate(t.Context(), "alice", secret); !isOutage(err) {
			t.Errorf("%+v, %v", p, err)
		}
	}
	found(t, c, "alice", aliceSecret) // is remembered
	refused(t, c, "alice", "a wrong secret")
	s.Start()
	again(t, c, subject) // the connection that waited was cut
	found(t, people, "alice", aliceSecret)
	refused(t, people, "alice", "another wrong secret")
	refused(t, c, "alice", "another wrong secret")
}

// TestV8_HalfAnswersEnd, and are an outage: cut or silent after any number of bytes of the
// answers to a login.
func TestV8_HalfAnswersEnd(t *testing.T) {
	s := start(t)
	settings := byDN(s)
	settings.Insecure, settings.Servers = true, []string{s.URL()}
	var through strip
	var whole atomic.Int64
	// between passes n bytes of the server's answers, and then cuts or hangs.
	between := func(n int64, cut bool) string {
		return through.start(t, func(conn net.Conn, r io.Reader) {
			server, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Error(err)
				return
			}
			defer server.Close()
			go func() {
				_, _ = io.Copy(server, r)
				_ = server.Close()
			}()
			passed, _ := io.Copy(conn, io.LimitReader(server, n))
			whole.CompareAndSwap(0, passed) // the first one is whole
			if !cut {
				_, _ = io.Copy(io.Discard, server) // until the client leaves
			}
		})
	}
	try := func(n int64, cut bool) error {
		at := settings
		at.Servers, at.Timeout = []string{"ldap://" + between(n, cut)}, 150*time.Millisecond
		if n > 1<<20 {
			at.Timeout = patience
		}
		c, _ := open(t, at)
		_, err := c.Authenticate(t.Context(), "alice", aliceSecret)
		return err
	}
	if err := try(1<<21, true); err != nil {
		t.Fatal(err)
	}
	await.True(t, patience, "the count of the answers' bytes", func() bool { return whole.Load() > 100 })
	all := whole.Load()
	for n := int64(0); n < all; n += 1 + all/40 {
		for _, cut := range []bool{true, false} {
			if err := try(n, cut); !isOutage(err) {
				t.Errorf("after %d of %d bytes (cut: %t): %v", n, all, cut, err)
			}
		}
	}
}

// TestV9_AnAnswerIsBounded in bytes, in elements and in depth, whatever lengths it declares.
func TestV9_AnAnswerIsBounded(t *testing.T) {
	entry := func(n int) []byte {
		p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 2, ""))
		e := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
		e.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, string(make([]byte, n)), ""))
		e.AppendChild(ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, ""))
		p.AppendChild(e)
		return p.Bytes()
	}
	many := []byte{0x30, 0x84, 0x01, 0, 0, 0}
	for range 200_000 {
		many = append(many, 0x30, 0)
	}
	for name, answer := range map[string][]byte{
		"entries without end": slices.Repeat(entry(100), 60_000), "a huge entry": entry(5 << 20), "many elements": many,
		"deep": slices.Repeat([]byte{0x30, 0x80}, 100_000), "a declared length": {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x04, 0x84, 0x7f, 0xff, 0xff, 0xf0},
	} {
		t.Run(name, func(t *testing.T) {
			var server strip
			settings := ldaplogin.Settings{Insecure: true, UserDN: "uid={name},dc=x,dc=y", Timeout: 5 * time.Second}
			settings.Servers = []string{"ldap://" + server.start(t, func(conn net.Conn, r io.Reader) {
				_, _ = ber.ReadPacket(r)
				_, _ = conn.Write(result(1, ldap.ApplicationBindResponse, 0))
				_, _ = ber.ReadPacket(r)
				_, _ = conn.Write(answer) // the client leaves before its end
			})}
			c, _ := open(t, settings)
			if p, err := c.Authenticate(t.Context(), "alice", aliceSecret); !isOutage(err) {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}
