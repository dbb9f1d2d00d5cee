package ldaplogin_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/tools/testserver"
)

// injections are names that would change a filter or a distinguished name.
func injections() []string {
	var names []string
	for _, part := range []string{
		"*", "*)(uid=*", "*)(|(uid=*", ")(uid=*))(|(uid=*", ")(objectClass=*", ")(!(uid=bob)", "*))%00", `\2a`, `\`, `\\2a`, `\61lice`, ",ou=people", "+cn=x",
		`,`, `"`, "<", ">", ";uid=bob", "=", "(", ")", "&", "|", "!(uid=bob)", "{name}", "{dn}", "\uff0a", "\uff08uid=\uff0a\uff09", "%2a", "#",
	} {
		names = append(names, part, "alice"+part)
	}
	return append(names, "#616c696365", aliceDN, "uid=alice", "cn=berth", "<GUID=0001>", "a*", "*e")
}

// TestB11_InjectionFindsNoOtherEntry in filters of people, in distinguished names and in
// filters of groups, with the password of whomever.
func TestB11_InjectionFindsNoOtherEntry(t *testing.T) {
	names := injections()
	if len(names) < 60 {
		t.Fatalf("only %d names", len(names))
	}
	s := start(t)
	for _, settings := range []ldaplogin.Settings{bySearch(s), byDN(s), ofAD(s)} {
		c, _ := open(t, settings)
		for _, name := range names {
			for _, secret := range []string{aliceSecret, bobSecret, testserver.SlapdServiceSecret} {
				refused(t, c, name, secret)
			}
		}
		found(t, c, "alice", aliceSecret)
	}
}

// TestV3_NamesWithSpecialCharactersAreNames of the people who have them, also in filters of
// groups: there are people of all those names that a directory takes.
func TestV3_NamesWithSpecialCharactersAreNames(t *testing.T) {
	var people []testserver.SlapdEntry
	special := []string{`a*b`, `a(b)`, `a\b`, `a,b`, `a+b`, `a"b`, `a<b>`, `a;b`, `a=b`, `#ab`, `{name}`, `{dn}`, `äöü`, `a b`}
	for _, name := range special {
		p := testserver.SlapdPerson("x", "the secret of "+name)
		p.DN = ldapDN(name)
		p.Attributes["uid"] = []string{name}
		people = append(people, p)
	}
	s := start(t, people...)
	for i, p := range people {
		g := testserver.SlapdGroup(fmt.Sprintf("of-%02d", i), p.DN)
		g.Attributes["description"] = []string{special[i]}
		s.Add(g)
	}
	for _, filter := range []string{"(member={dn})", "(description={name})"} {
		search, direct := bySearch(s), byDN(s)
		for _, settings := range []*ldaplogin.Settings{&search, &direct} {
			settings.BindDN, settings.BindPassword = testserver.SlapdService, testserver.SlapdServiceSecret
			settings.MemberOf, settings.GroupBase, settings.GroupFilter = "title", testserver.SlapdGroups, filter
			c, _ := open(t, *settings)
			for i, name := range special {
				p := found(t, c, name, "the secret of "+name)
				if p.Name != name {
					t.Errorf("%q is %q", name, p.Name)
				}
				groupsAre(t, p, fmt.Sprintf("of-%02d", i))
				groupsAre(t, again(t, c, p.Subject), fmt.Sprintf("of-%02d", i))
			}
		}
	}
}

// ldapDN escapes every byte, as no code here does.
func ldapDN(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		fmt.Fprintf(&b, `\%02x`, c)
	}
	return "uid=" + b.String() + "," + testserver.SlapdPeople
}

// TestB11_EmptyPasswordsAreNeverSent, nor what else cannot be a name or a password: there is
// no bind, and no connection.
func TestB11_EmptyPasswordsAreNeverSent(t *testing.T) {
	s, sink := start(t), testserver.StartSink(t)
	for _, settings := range []ldaplogin.Settings{bySearch(s), byDN(s)} {
		at := settings
		at.Servers = []string{"ldaps://" + sink.Addrs()[0]}
		for _, settings := range []ldaplogin.Settings{settings, at} {
			c, _ := open(t, settings)
			for _, a := range [][2]string{
				{"alice", ""},
				{"", ""},
				{"", aliceSecret},
				{"alice\x00", aliceSecret},
				{"\x00", "x"},
				{"alice", aliceSecret + "\x00"},
				{"alice", "\x00"},
				{strings.Repeat("a", 257), "x"},
				{"alice", strings.Repeat("x", 1025)},
				{"al\xffice", "x"},
				{"alice\n", "x"},
			} {
				refused(t, c, a[0], a[1])
			}
		}
	}
	if n := s.Binds(); n != 0 {
		t.Errorf("%d binds", n)
	}
	if n := sink.Accepted(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// TestB11_ReferralsAreNotFollowed: those among the results of a search are left out, and a
// server that refers to another one for all of it cannot be asked.
func TestB11_ReferralsAreNotFollowed(t *testing.T) {
	sink := testserver.StartSink(t)
	referral := func(dn, ou string) testserver.SlapdEntry {
		return testserver.SlapdEntry{DN: dn, Attributes: map[string][]string{
			"objectClass": {"referral", "extensibleObject"}, "ou": {ou}, "ref": {"ldap://" + sink.Addrs()[0] + "/" + testserver.SlapdPeople},
		}}
	}
	s := start(t, referral("ou=elsewhere,"+testserver.SlapdPeople, "elsewhere"), referral("ou=elsewhere,"+testserver.SlapdGroups, "elsewhere"),
		referral("ou=away,"+testserver.SlapdBase, "away"))
	settings := bySearch(s)
	settings.GroupBase = testserver.SlapdGroups
	c, _ := open(t, settings)
	again(t, c, found(t, c, "alice", aliceSecret).Subject)
	refused(t, c, "carol", "the secret of carol")

	away := bySearch(s)
	away.UserBase = "ou=away," + testserver.SlapdBase
	c, _ = open(t, away)
	down(t, c, patience)
	bind := byDN(s)
	bind.UserDN = "uid={name},ou=away," + testserver.SlapdBase
	c, _ = open(t, bind)
	refused(t, c, "alice", aliceSecret) // so slapd says of a name that it does not have itself
	var refers strip
	bind.Insecure, bind.Servers = true, []string{"ldap://" + refers.start(t, func(conn net.Conn, r io.Reader) {
		_, _ = ber.ReadPacket(r)
		_, _ = conn.Write(result(1, ldap.ApplicationBindResponse, ldap.LDAPResultReferral)) // the client may be gone
	})}
	c, _ = open(t, bind)
	if p, err := c.Authenticate(t.Context(), "alice", aliceSecret); !isOutage(err) {
		t.Errorf("%+v, %v", p, err)
	}
	if n := sink.Accepted(); n != 0 {
		t.Errorf("%d connections", n)
	}
}
