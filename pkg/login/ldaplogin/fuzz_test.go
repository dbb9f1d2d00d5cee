package ldaplogin

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
)

// FuzzV3_Names holds what a name becomes in a filter and in a distinguished name against how
// the library reads it: as that name and nothing more.
func FuzzV3_Names(f *testing.F) {
	for _, name := range []string{"alice", "*", `a,b=c+d"e\`, " a ", "#a", "{dn}{name}", "(&)", "ä"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !possible(name, "x") {
			return
		}
		filter, err := ldap.CompileFilter(expandFilter("(uid={name})", "", name))
		if err != nil || filter.Tag != ldap.FilterEqualityMatch || filter.Children[1].Data.String() != name {
			t.Errorf("the filter of %q: %+v, %v", name, filter, err)
		}
		dn, err := ldap.ParseDN(expandDN("uid={name},ou=people", name))
		if err != nil || len(dn.RDNs) != 2 || len(dn.RDNs[0].Attributes) != 1 || dn.RDNs[0].Attributes[0].Value != name {
			t.Errorf("the DN of %q: %+v, %v", name, dn, err)
		}
	})
}

// FuzzV9_NamesOfGroups is about distinguished names that a directory sends.
func FuzzV9_NamesOfGroups(f *testing.F) {
	for _, dn := range []string{"cn=dev,ou=groups", `ou=x+CN=a\2cb,dc=y`, "", ",", "cn=", `cn=#0403616263`, "cn=a\x00"} {
		f.Add(dn)
	}
	f.Fuzz(func(t *testing.T, dn string) {
		name, ok := firstValue(dn)
		if ok && (name == "" || !isText(name, maxName)) {
			t.Errorf("%q has the name %q", dn, name)
		}
		if back, known := firstValue("cn=" + ldap.EscapeDN(name)); ok && (!known || back != name) {
			t.Errorf("%q is %q, and read again %q", dn, name, back)
		}
		isBelow(dn, "ou=groups")
	})
}

// FuzzV1_ObjectGUID goes from the bytes of a directory to a subject, and back to a filter for
// the same bytes.
func FuzzV1_ObjectGUID(f *testing.F) {
	s := Settings{Schema: ActiveDirectory}.withDefaults()
	f.Add([]byte("0123456789abcdef"))
	f.Add([]byte{0, '*', ')', '\\', 0xff})
	f.Fuzz(func(t *testing.T, guid []byte) {
		subject, err := s.subjectOf(ldap.NewEntry("cn=x", map[string][]string{"objectguid": {string(guid)}}))
		if err != nil {
			if len(guid) > 0 && len(guid) <= maxName/2 {
				t.Errorf("%x: %v", guid, err)
			}
			return
		}
		text, ok := s.subjectFilter(subject)
		filter, err := ldap.CompileFilter(text)
		if subject != hex.EncodeToString(guid) || !ok || err != nil || filter.Tag != ldap.FilterEqualityMatch || filter.Children[1].Data.String() != string(guid) {
			t.Errorf("%x is %q, of %q: %v", guid, subject, text, err)
		}
	})
}

// FuzzV9_Scanner holds the counts of a stream against the library's reading of it, wherever
// it is cut.
func FuzzV9_Scanner(f *testing.F) {
	f.Add([]byte{0x30, 0x0c, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00}, 3)
	f.Add([]byte{0x30, 0x81, 0x04, 0x1f, 0x81, 0x01, 0x00}, 1)
	f.Add(bytes.Repeat([]byte{0x30, 0x80}, 20), 5)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var whole, parts scanner
		n := whole.count(b)
		at := max(0, min(cut, len(b)))
		if m := parts.count(b[:at]) + parts.count(b[at:]); m != n || parts.refused != whole.refused {
			t.Errorf("%d elements whole, %d in parts", n, m)
		}
		p, err := ber.ReadPacket(bytes.NewReader(b))
		if err != nil {
			return
		}
		if elements, depth := measure(p); n < elements || depth > maxDepth+1 && !whole.refused {
			t.Errorf("%d elements, of which the library reads %d, %d deep", n, elements, depth)
		}
	})
}

// measure returns how many elements there are, and how deep they are.
func measure(p *ber.Packet) (int, int) {
	elements, depth := 1, 1
	for _, c := range p.Children {
		e, d := measure(c)
		elements, depth = elements+e, max(depth, d+1)
	}
	return elements, depth
}

// FuzzV9_Answers gives a client whatever bytes as the answers of its server: it ends, with a
// whole person or an error.
func FuzzV9_Answers(f *testing.F) {
	bound := []byte{0x30, 0x0c, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00}
	f.Add(bound)
	f.Add(bytes.Replace(bound, []byte{0x0a, 0x01, 0x00}, []byte{0x0a, 0x01, 0x31}, 1)) // invalidCredentials
	f.Add(append(bytes.Clone(bound), 0x30, 0x05, 0x02, 0x01, 0x02, 0x64, 0x00))        // an entry without a name
	f.Add([]byte{0x30, 0x05, 0x04, 0x01, 0x01, 0x61, 0x00})
	f.Add([]byte{0x30, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := New(Options{
			Settings: Settings{Servers: []string{"ldap://x"}, Insecure: true, UserDN: "uid={name},dc=x", UserBase: "dc=x", Timeout: 5 * time.Second},
			Now:      time.Now, Dial: func(context.Context, string, string) (net.Conn, error) { return answering(b), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p, err := c.Authenticate(t.Context(), "alice", "secret")
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			t.Errorf("it did not end: %v", err)
		case err == nil && (p.Subject == "" || p.Name == ""):
			t.Errorf("%+v", p)
		case err != nil && (p.Subject != "" || fault.KindOf(err) != fault.Unavailable && err.Error() != login.ErrUnknown().Error()):
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// answering is a connection whose server has sent b once it is asked, and then closes it.
func answering(b []byte) net.Conn {
	client, server := net.Pipe()
	go func() {
		_, _ = server.Read(make([]byte, 1<<10)) // the client may be gone, here and below
		go func() { _, _ = io.Copy(io.Discard, server) }()
		_, _ = io.Copy(server, strings.NewReader(string(b)))
		_ = server.Close()
	}()
	return client
}
