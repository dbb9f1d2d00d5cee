package ldaplogin_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestV7_UserFilterCountsForLoginsByBind, by the person and by the service.
func TestV7_UserFilterCountsForLoginsByBind(t *testing.T) {
	s := start(t)
	self := byDN(s)
	self.UserFilter = "(&(uid={name})(mail=alice@example.org))"
	service := self
	service.BindDN, service.BindPassword = testserver.SlapdService, testserver.SlapdServiceSecret
	search := bySearch(s)
	search.UserFilter = self.UserFilter
	for name, settings := range map[string]ldaplogin.Settings{"read by the person": self, "read by the service": service, "by search": search} {
		t.Run(name, func(t *testing.T) {
			c, _ := open(t, settings)
			found(t, c, "alice", aliceSecret)
			refused(t, c, "bob", bobSecret)
			if settings.BindDN == "" {
				return
			}
			uuid := s.Read("uid=bob,"+testserver.SlapdPeople, "entryUUID")[0]
			if p, err := c.Find(t.Context(), uuid); !errors.Is(err, login.ErrGone) {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

// TestV9_NamesOfGroupsAreBounded in all: what is read is kept with the person.
func TestV9_NamesOfGroupsAreBounded(t *testing.T) {
	long := testserver.SlapdPerson("long", "the secret of long")
	for i := range 600 {
		long.Attributes["memberOf"] = append(long.Attributes["memberOf"], fmt.Sprintf("cn=%03d%s,%s", i, strings.Repeat("x", 1800), testserver.SlapdGroups))
	}
	s := start(t, long)
	settings := bySearch(s)
	settings.GroupsByDN, settings.Timeout = true, 30*time.Second
	c, _ := open(t, settings)
	if p, err := c.Authenticate(t.Context(), "long", "the secret of long"); !isOutage(err) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("%d groups, %v", len(p.Groups), err)
	}
	found(t, c, "bob", bobSecret)
}

// TestV11_LoginsDoNotPileUp at a directory that hangs: clients that have left are not waited for.
func TestV11_LoginsDoNotPileUp(t *testing.T) {
	const more = 50
	hangs, end := context.WithCancel(t.Context())
	c, err := ldaplogin.New(ldaplogin.Options{
		Settings: ldaplogin.Settings{Servers: []string{"ldaps://localhost"}, UserDN: "uid={name},dc=test", UserBase: "dc=test", Timeout: 30 * time.Second},
		Now:      time.Now,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			<-hangs.Done()
			return nil, hangs.Err()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := make(chan error, ldaplogin.MaxWaiting+more)
	for i := range cap(answers) {
		go func() {
			_, err := c.Authenticate(t.Context(), fmt.Sprint("name", i), "secret")
			answers <- err
		}()
	}
	for range more {
		if err := <-answers; !isOutage(err) || !strings.Contains(err.Error(), "too many") {
			t.Errorf("one that is too many: %v", err)
		}
	}
	end()
	for range ldaplogin.MaxWaiting {
		if err := <-answers; !isOutage(err) {
			t.Error(err)
		}
	}
}

// TestV11_ConnectionsThatWaitAreClosed without another login.
func TestV11_ConnectionsThatWaitAreClosed(t *testing.T) {
	s := start(t)
	var sockets sockets
	c, err := ldaplogin.New(ldaplogin.Options{Settings: bySearch(s), Dial: sockets.dial, Now: newClock().Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.SetIdle(10 * time.Millisecond)
	found(t, c, "alice", aliceSecret)
	await.True(t, 10*time.Second, "no connection waits", func() bool { return sockets.now.Load() == 0 })
	found(t, c, "bob", bobSecret)
}
