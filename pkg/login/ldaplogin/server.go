package ldaplogin

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

const (
	downFor  = 30 * time.Second // a server that could not be asked comes last
	idleFor  = time.Minute
	maxIdle  = 2 // connections of a server that wait for the next task
	maxTasks = 8 // at once; each has at most two connections

	maxWaiting = 256 // tasks, those that run with them: what waits may be of clients that have left
)

var errBusy = errors.New("too many logins wait for it")

// server is one of the servers of a directory.
type server struct {
	address, host string
	security      security

	mu      sync.Mutex
	down    time.Time // until then
	idle    []idle
	idleFor time.Duration
	closed  bool
}

// idle is a connection that is bound as the service.
type idle struct {
	*conn
	since time.Time
	end   *time.Timer // closes it
}

// take returns a connection that waits, or nil.
func (s *server) take(now time.Time) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.idle) > 0 {
		last := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		last.end.Stop()
		if !last.ldap.IsClosing() && now.Sub(last.since) < s.idleFor {
			last.reused = true
			return last.conn
		}
		last.close()
	}
	return nil
}

// give takes a connection back.
func (s *server) give(c *conn, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.broken || s.closed || len(s.idle) >= maxIdle || c.socket.begin(time.Time{}) != nil {
		c.close()
		return
	}
	s.idle = append(s.idle, idle{c, now, time.AfterFunc(s.idleFor, func() { s.drop(c) })})
}

// drop closes a connection that has waited for too long.
func (s *server) drop(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.idle, func(one idle) bool { return one.conn == c }); i >= 0 {
		s.idle = slices.Delete(s.idle, i, i+1)
		c.close()
	}
}

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.idle {
		c.end.Stop()
		c.close()
	}
	s.idle = nil
}

func (s *server) isDown(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.down)
}

func (s *server) setDown(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = until
}

// order is that in which servers are asked: those that were down lately come last.
func (c *Client) order() []*server {
	now := c.now()
	var up, down []*server
	for _, s := range c.servers {
		if s.isDown(now) {
			down = append(down, s)
		} else {
			up = append(up, s)
		}
	}
	return append(up, down...)
}

// ask runs f with the first server that can be asked. The directory has an outage only if none
// of its servers can be.
func (c *Client) ask(ctx context.Context, f func(context.Context, *server) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.settings.Timeout*time.Duration(len(c.servers)+1)) // also for what waits
	defer cancel()
	defer c.waiting.Add(-1)
	if c.waiting.Add(1) > maxWaiting {
		return fault.Down(errBusy, "the directory")
	}
	select {
	case c.tasks <- struct{}{}:
		defer func() { <-c.tasks }()
	case <-ctx.Done():
		return fault.Down(ctx.Err(), "the directory")
	}
	var failures []error
	for _, s := range c.order() {
		err := c.askOne(ctx, s, f)
		var o outage
		if !errors.As(err, &o) {
			s.setDown(time.Time{})
			return err
		}
		failures = append(failures, err)
		if ctx.Err() != nil { // says nothing about the server
			break
		}
		s.setDown(c.now().Add(downFor))
	}
	return fault.Down(errors.Join(failures...), "the directory")
}

func (c *Client) askOne(ctx context.Context, s *server, f func(context.Context, *server) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.settings.Timeout)
	defer cancel()
	return f(ctx, s)
}

// asService runs f on a connection that is bound as the service. Where the server has closed
// one that waited, another one is used.
func (c *Client) asService(ctx context.Context, s *server, f func(*conn) error) error {
	for {
		service := s.take(c.now())
		if service == nil {
			var err error
			if service, err = c.bound(ctx, s); err != nil {
				return err
			}
		}
		err := f(service)
		stale := service.reused && service.broken && ctx.Err() == nil
		s.give(service, c.now())
		if !stale {
			return err
		}
	}
}

// bound is a new connection, bound as the service. A password that the directory refused is
// not tried again for a while, lest the account be locked.
func (c *Client) bound(ctx context.Context, s *server) (*conn, error) {
	if c.isRefused() {
		return nil, unusable("it refused the account that searches; check bind_dn and bind_password")
	}
	service, err := c.connect(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := service.bind(ctx, c.settings.BindDN, c.settings.BindPassword); err != nil {
		service.close()
		if refuses(err) {
			c.setRefused()
			return nil, fault.Wrap(err, fault.Unavailable, fault.UnavailableReason,
				"the directory cannot be used: it refused the account that searches; check bind_dn and bind_password")
		}
		return nil, failed(err, "the bind of the account that searches")
	}
	return service, nil
}

const refusedFor = time.Minute

func (c *Client) isRefused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now().Before(c.refused)
}

func (c *Client) setRefused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = c.now().Add(refusedFor)
}
