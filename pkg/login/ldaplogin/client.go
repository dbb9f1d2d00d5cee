// Package ldaplogin is a directory of people that is asked by LDAP: OpenLDAP, Active
// Directory and others. It takes an answer for what it says only where it is whole: whatever
// a server does otherwise, or leaves undone, is an outage, which ends in time and refuses no
// password.
package ldaplogin

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
)

// Options are what a Client needs.
type Options struct {
	Settings Settings
	// Dial connects to a server, host:port, and decides which addresses may be connected to.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Now  func() time.Time // the clock
}

// Client implements login.Directory.
type Client struct {
	settings Settings
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	now      func() time.Time
	roots    *x509.CertPool // nil: those of the system
	servers  []*server
	tasks    chan struct{}
	waiting  atomic.Int64 // for tasks, those that run with them

	logins     singleflight.Group
	remembered *remembered

	mu      sync.Mutex
	refused time.Time // until then the service is not bound
}

var _ login.Directory = (*Client)(nil)

// New makes a client, and connects to nothing. Settings.Check says what it refuses.
func New(o Options) (*Client, error) {
	if err := o.Settings.Check(); err != nil {
		return nil, err
	}
	c := &Client{
		settings: o.Settings.withDefaults(), dial: o.Dial, now: o.Now,
		tasks: make(chan struct{}, maxTasks), remembered: newRemembered(o.Now, []byte(rand.Text())),
	}
	if len(o.Settings.CA) > 0 {
		c.roots = x509.NewCertPool()
		c.roots.AppendCertsFromPEM(o.Settings.CA) // checked
	}
	for _, raw := range c.settings.Servers {
		s, err := c.settings.parseServer(raw)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	return c, nil
}

// Close ends the connections that wait. What runs ends by itself.
func (c *Client) Close() {
	for _, s := range c.servers {
		s.close()
	}
}

// Authenticate implements login.Directory. A secret that the directory took is taken for a
// minute without asking it, one that it refused is refused for five: a stale password that
// is sent again and again locks no account. A secret is asked about once at a time.
func (c *Client) Authenticate(ctx context.Context, name, secret string) (login.Person, error) {
	if !possible(name, secret) {
		return login.Person{}, login.ErrUnknown()
	}
	key := c.remembered.key(name, secret)
	if p, err, ok := c.remembered.find(key); ok {
		return p, err
	}
	shared := context.WithoutCancel(ctx) // a caller that leaves does not end the login of others
	done := c.logins.DoChan(string(key[:]), func() (any, error) {
		if p, err, ok := c.remembered.find(key); ok {
			return p, err // a login ended between the caller's look and this one
		}
		p, err := c.authenticate(shared, name, secret)
		c.remembered.put(key, p, err)
		return p, err
	})
	select {
	case <-ctx.Done():
		return login.Person{}, fault.Down(ctx.Err(), "the directory")
	case r := <-done:
		if r.Err != nil {
			return login.Person{}, r.Err
		}
		return r.Val.(login.Person), nil
	}
}

func (c *Client) authenticate(ctx context.Context, name, secret string) (login.Person, error) {
	var found login.Person
	err := c.ask(ctx, func(ctx context.Context, s *server) error {
		var err error
		if c.settings.UserDN != "" {
			found, err = c.loginByDN(ctx, s, name, secret)
		} else {
			found, err = c.loginBySearch(ctx, s, name, secret)
		}
		return err
	})
	if err != nil {
		return login.Person{}, err
	}
	return found, nil
}

// Find implements login.Directory. Without BindDN it is always an outage.
func (c *Client) Find(ctx context.Context, subject string) (login.Person, error) {
	if c.settings.BindDN == "" {
		return login.Person{}, unusable("people are found again by an account that searches; set bind_dn")
	}
	var found login.Person
	err := c.ask(ctx, func(ctx context.Context, s *server) error {
		return c.asService(ctx, s, func(service *conn) error {
			var err error
			found, err = c.find(ctx, service, subject)
			return err
		})
	})
	if err != nil {
		return login.Person{}, err
	}
	return found, nil
}
