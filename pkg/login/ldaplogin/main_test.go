package ldaplogin_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

const (
	aliceSecret = "the secret of alice"
	bobSecret   = "the secret of bob"
	aliceDN     = "uid=alice," + testserver.SlapdPeople
	aliceGUID   = "\x00\x01*()\\\xff\xfealice567" // bytes that are no text, and some that filters escape
)

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// start starts a server with alice and bob in both shapes, and these.
func start(t *testing.T, entries ...testserver.SlapdEntry) *testserver.Slapd {
	t.Helper()
	return testserver.StartSlapd(t, append([]testserver.SlapdEntry{
		testserver.SlapdPerson("alice", aliceSecret), testserver.SlapdPerson("bob", bobSecret),
		testserver.ADPerson("alice", aliceSecret, aliceGUID), testserver.ADPerson("bob", bobSecret, "0123456789abcdef"),
	}, entries...)...)
}

// bySearch are settings of the OpenLDAP shape.
func bySearch(s *testserver.Slapd) ldaplogin.Settings {
	return ldaplogin.Settings{
		Servers: []string{s.TLSURL()}, CA: s.CAPEM(), BindDN: testserver.SlapdService, BindPassword: testserver.SlapdServiceSecret,
		UserBase: testserver.SlapdPeople,
	}
}

// byDN are settings of the OpenLDAP shape without a service.
func byDN(s *testserver.Slapd) ldaplogin.Settings {
	return ldaplogin.Settings{Servers: []string{s.TLSURL()}, CA: s.CAPEM(), UserDN: "uid={name}," + testserver.SlapdPeople}
}

// ofAD are settings of the shape of Active Directory.
func ofAD(s *testserver.Slapd) ldaplogin.Settings {
	found := bySearch(s)
	found.Schema, found.UserBase = ldaplogin.ActiveDirectory, testserver.ADPeople
	return found
}

func open(t *testing.T, s ldaplogin.Settings) (*ldaplogin.Client, *clock) {
	t.Helper()
	now := newClock()
	c, err := ldaplogin.New(ldaplogin.Options{Settings: s, Dial: new(net.Dialer).DialContext, Now: now.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, now
}

func found(t *testing.T, d login.Directory, name, secret string) login.Person {
	t.Helper()
	p, err := d.Authenticate(t.Context(), name, secret)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

func again(t *testing.T, d login.Directory, subject string) login.Person {
	t.Helper()
	p, err := d.Find(t.Context(), subject)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return p
}

func refused(t *testing.T, d login.Directory, name, secret string) {
	t.Helper()
	p, err := d.Authenticate(t.Context(), name, secret)
	if !fault.Is(err, fault.ResourceUnknown) || err.Error() != login.ErrUnknown().Error() || p.Subject != "" {
		t.Errorf("%q with %q: %+v, %v", name, secret, p, err)
	}
}

// isOutage reports whether an error says nothing about a person.
func isOutage(err error) bool {
	return err != nil && fault.KindOf(err) == fault.Unavailable && !fault.Is(err, fault.ResourceUnknown)
}

// down expects an outage of both methods that ends in time.
func down(t *testing.T, d login.Directory, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for _, secret := range []string{aliceSecret, "a wrong secret"} {
		if p, err := d.Authenticate(ctx, "alice", secret); !isOutage(err) || p.Subject != "" {
			t.Errorf("login: %+v, %v", p, err)
		}
	}
	if p, err := d.Find(ctx, "a subject"); !isOutage(err) || p.Subject != "" {
		t.Errorf("find: %+v, %v", p, err)
	}
	if ctx.Err() != nil {
		t.Errorf("it took longer than %s", within)
	}
}

func groupsAre(t *testing.T, p login.Person, want ...string) {
	t.Helper()
	if !slices.Equal(p.Groups, want) {
		t.Errorf("the groups of %s are %s, want %s", p.Name, strings.Join(p.Groups, ", "), strings.Join(want, ", "))
	}
}

// dialer connects to one address, whatever it is asked for.
func dialer(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}
