package ldaplogin_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestV10_LoginsAreRemembered: a good one for a minute, a bad one for five, so that a stale
// password in CI locks no account. Another password is another login.
func TestV10_LoginsAreRemembered(t *testing.T) {
	s := start(t)
	c, now := open(t, byDN(s)) // without a service, each bind is one of a person
	binds := func(want int) {
		t.Helper()
		if n := s.Binds(); n != want {
			t.Errorf("%d binds, want %d", n, want)
		}
	}
	for range 100 {
		found(t, c, "alice", aliceSecret)
		refused(t, c, "alice", "a stale secret")
	}
	binds(2)
	found(t, c, "bob", bobSecret)
	refused(t, c, "bob", aliceSecret)
	refused(t, c, "alice", bobSecret)
	binds(5)

	now.pass(time.Minute - 1)
	found(t, c, "alice", aliceSecret)
	binds(5)
	now.pass(1)
	s.Set(aliceDN, "userPassword", "a new secret")
	refused(t, c, "alice", aliceSecret)      // not remembered any more
	found(t, c, "alice", "a new secret")     // at once
	refused(t, c, "alice", "a stale secret") // remembered
	binds(7)
	now.pass(4 * time.Minute)
	refused(t, c, "alice", "a stale secret")
	binds(8)
	refused(t, c, "alice", aliceSecret)
	binds(8)
	now.pass(time.Minute)
	refused(t, c, "alice", aliceSecret)
	binds(9)
}

// TestV10_ASecretIsAskedAboutOnceAtATime: jobs that begin together with a stale password are
// one bind.
func TestV10_ASecretIsAskedAboutOnceAtATime(t *testing.T) {
	s := start(t)
	c, _ := open(t, byDN(s))
	var jobs sync.WaitGroup
	for range 50 {
		jobs.Go(func() { refused(t, c, "alice", "a stale secret") })
		jobs.Go(func() {
			if p, err := c.Authenticate(t.Context(), "bob", bobSecret); err != nil || p.Name != "bob" {
				t.Errorf("bob is %+v, %v", p, err)
			}
		})
	}
	jobs.Wait()
	if n := s.Binds(); n != 2 {
		t.Errorf("%d binds", n)
	}
}

// TestV11_ManyLoginsAtOnce are each answered for their own person, on a bounded number of
// connections; none comes to be of the service that was bound as a person.
func TestV11_ManyLoginsAtOnce(t *testing.T) {
	people := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"}
	var entries []testserver.SlapdEntry
	for _, name := range people {
		entries = append(entries, testserver.SlapdPerson(name, "the secret of "+name))
	}
	s := start(t, entries...)
	var sockets sockets
	c, err := ldaplogin.New(ldaplogin.Options{Settings: bySearch(s), Dial: sockets.dial, Now: newClock().Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var logins sync.WaitGroup
	for _, name := range people {
		logins.Go(func() {
			p, err := c.Authenticate(t.Context(), name, "the secret of "+name)
			if err != nil || p.Name != name {
				t.Errorf("%s is %+v, %v", name, p, err)
				return
			}
			// Only the service may read others.
			if again, err := c.Find(t.Context(), p.Subject); err != nil || again.Name != name {
				t.Errorf("%s is found again as %+v, %v", name, again, err)
			}
		})
		logins.Go(func() { refused(t, c, name, "a wrong secret") })
	}
	logins.Wait()
	if n := sockets.most.Load(); n < 2 || n > 16 { // two of each task
		t.Errorf("%d connections at once", n)
	}
	if n := s.Binds() - 2*len(people); n < 1 || n > 3*len(people) {
		t.Errorf("%d binds of the service", n)
	}
}

// sockets counts connections that are open at once.
type sockets struct{ now, most atomic.Int64 }

func (s *sockets) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	n := s.now.Add(1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	return &socket{Conn: conn, closed: sync.OnceFunc(func() { s.now.Add(-1) })}, nil
}

type socket struct {
	net.Conn
	closed func()
}

// Close implements net.Conn.
func (s *socket) Close() error {
	s.closed()
	return s.Conn.Close()
}

// TestV12_ARefusedServiceIsNotTriedAgain for a minute, lest its account be locked, and no
// person's password is called wrong meanwhile.
func TestV12_ARefusedServiceIsNotTriedAgain(t *testing.T) {
	s := start(t)
	settings := bySearch(s)
	settings.BindPassword = "the secret before"
	c, now := open(t, settings)
	for range 10 {
		down(t, c, patience)
	}
	if n := s.Binds(); n != 1 {
		t.Errorf("%d binds", n)
	}
	s.Set(testserver.SlapdService, "userPassword", "the secret before")
	now.pass(time.Minute)
	found(t, c, "alice", aliceSecret)
	if _, err := c.Find(t.Context(), "no subject"); fault.Is(err, fault.ResourceUnknown) || err != login.ErrGone { //nolint:errorlint // exactly this one
		t.Error(err)
	}
}
