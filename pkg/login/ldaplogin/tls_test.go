package ldaplogin_test

import (
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestV2_ConnectionsAreProtected by TLS from the first byte, or by StartTLS, by a certificate
// of the CA for the name of the server. Without TLS only where the settings say so.
func TestV2_ConnectionsAreProtected(t *testing.T) {
	s := start(t)
	port := func(url string) string { return url[strings.LastIndex(url, ":"):] }
	for _, url := range []string{s.URL(), s.TLSURL(), "ldap://localhost" + port(s.URL()), "ldaps://localhost" + port(s.TLSURL())} {
		settings := bySearch(s)
		settings.Servers = []string{url}
		c, _ := open(t, settings)
		found(t, c, "alice", aliceSecret)

		settings.CA = otherCA(t)
		c, _ = open(t, settings)
		down(t, c, 5*time.Second)
		settings.CA = nil // the system's do not include the test's
		c, _ = open(t, settings)
		down(t, c, 5*time.Second)
	}
	// A name that the certificate does not have, at the same address.
	settings := bySearch(s)
	settings.Servers = []string{"ldaps://ip6-localhost" + port(s.TLSURL())}
	c, err := ldaplogin.New(ldaplogin.Options{Settings: settings, Now: time.Now, Dial: dialer("127.0.0.1" + port(s.TLSURL()))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	down(t, c, 5*time.Second)

	settings.Servers, settings.Insecure = []string{s.URL()}, true
	clear, _ := open(t, settings)
	found(t, clear, "alice", aliceSecret)
}

// otherCA is an authority that signed nothing.
func otherCA(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(testserver.NewAuthority(t).File)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestB11_AFailedStartTLSIsNotContinuedInClear, whatever the server says to it: no DN and no
// password is sent.
func TestB11_AFailedStartTLSIsNotContinuedInClear(t *testing.T) {
	s := start(t)
	success := result(1, ldap.ApplicationBindResponse, 0)
	bound := slices.Concat(result(1, ldap.ApplicationExtendedResponse, 0), result(2, ldap.ApplicationBindResponse, 0))
	for name, answer := range map[string][]byte{
		"refuses": result(1, ldap.ApplicationExtendedResponse, ldap.LDAPResultProtocolError), "is unavailable": result(1, ldap.ApplicationExtendedResponse, ldap.LDAPResultUnavailable),
		"agrees, and talks in clear": bound, "answers something else": success, "sends nonsense": []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "sends a half": success[:5], "closes": nil,
	} {
		t.Run(name, func(t *testing.T) {
			var between strip
			settings := bySearch(s)
			settings.Servers = []string{"ldap://" + between.start(t, func(conn net.Conn, r io.Reader) {
				_, _ = ber.ReadPacket(r) // the client may be gone, here and below
				_, _ = conn.Write(answer)
				if answer != nil {
					_, _ = io.Copy(io.Discard, r)
				}
			})}
			settings.Timeout = 300 * time.Millisecond
			c, _ := open(t, settings)
			down(t, c, 5*time.Second)
			people := byDN(s)
			people.Servers, people.Timeout = settings.Servers, settings.Timeout
			c, _ = open(t, people)
			if _, err := c.Authenticate(t.Context(), "alice", aliceSecret); !isOutage(err) {
				t.Error(err)
			}
			for _, secret := range []string{testserver.SlapdServiceSecret, testserver.SlapdService, aliceSecret, "alice"} {
				if between.has(secret) {
					t.Errorf("%q was sent in clear", secret)
				}
			}
			if !between.has("1.3.6.1.4.1.1466.20037") {
				t.Error("StartTLS was not asked for")
			}
		})
	}
}

// TestV13_SettingsAreChecked, and the field is named.
func TestV13_SettingsAreChecked(t *testing.T) {
	good := ldaplogin.Settings{Servers: []string{"ldaps://ldap.example.org"}, BindDN: "cn=berth", BindPassword: "x", UserBase: "dc=example"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for field, changes := range map[string][]func(*ldaplogin.Settings){
		"servers": {
			func(s *ldaplogin.Settings) { s.Servers = nil },
			func(s *ldaplogin.Settings) { s.Servers = slices.Repeat(s.Servers, 9) },
			func(s *ldaplogin.Settings) { s.Servers = []string{"https://ldap.example.org"} },
			func(s *ldaplogin.Settings) { s.Servers = []string{"ldapi:///var/run/slapd"} },
			func(s *ldaplogin.Settings) { s.Servers = []string{"ldaps://user:secret@ldap.example.org"} },
			func(s *ldaplogin.Settings) { s.Servers = []string{"ldaps://ldap.example.org/dc=example?uid?sub"} },
			func(s *ldaplogin.Settings) { s.Servers = []string{"ldaps://"} },
		},
		"ca":              {func(s *ldaplogin.Settings) { s.CA = []byte("no PEM") }},
		"timeout":         {func(s *ldaplogin.Settings) { s.Timeout = time.Hour }, func(s *ldaplogin.Settings) { s.Timeout = -1 }},
		"bind_dn":         {func(s *ldaplogin.Settings) { s.BindDN, s.BindPassword = "", "" }, func(s *ldaplogin.Settings) { s.BindDN = "berth" }},
		"bind_password":   {func(s *ldaplogin.Settings) { s.BindPassword = "" }},
		"user_dn":         {func(s *ldaplogin.Settings) { s.UserDN = "uid=alice,dc=example" }, func(s *ldaplogin.Settings) { s.UserDN = "{name}" }},
		"user_base":       {func(s *ldaplogin.Settings) { s.UserBase = "" }, func(s *ldaplogin.Settings) { s.UserBase = "example" }},
		"user_filter":     {func(s *ldaplogin.Settings) { s.UserFilter = "(uid=alice)" }, func(s *ldaplogin.Settings) { s.UserFilter = "(uid={name}" }},
		"disabled_filter": {func(s *ldaplogin.Settings) { s.DisabledFilter = "disabled" }},
		"group_base":      {func(s *ldaplogin.Settings) { s.Nested = ldaplogin.Walk }, func(s *ldaplogin.Settings) { s.GroupBase = "groups" }},
		"group_filter": {
			func(s *ldaplogin.Settings) { s.GroupFilter = "((member={dn})" },
			func(s *ldaplogin.Settings) {
				s.GroupBase, s.Nested, s.GroupFilter = "dc=example", ldaplogin.Walk, "(memberUid={name})"
			},
		},
		"subject": {func(s *ldaplogin.Settings) { s.Subject = "uid)(uid=*" }},
	} {
		for i, change := range changes {
			s := good
			change(&s)
			if err := s.Check(); fault.KindOf(err) != fault.Invalid || fault.From(err).Field != field {
				t.Errorf("%s, %d: %v", field, i, err)
			}
			if _, err := ldaplogin.New(ldaplogin.Options{Settings: s}); err == nil {
				t.Errorf("%s, %d: it was taken", field, i)
			}
		}
	}
}
