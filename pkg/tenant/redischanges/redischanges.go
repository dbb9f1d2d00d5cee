// Package redischanges tells all processes that share a Redis when what hosts
// lead to has changed.
package redischanges

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"

	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/pkg/tenant"
)

// channel is one for all databases of a Redis, as pub/sub has it: deployments
// that share one tell each other to clear, which is harmless.
const channel = "berth:hosts"

// clearEvery is how often a process clears at most: a flood of messages must not
// switch its cache off.
const clearEvery = 100 * time.Millisecond

// After a silence Redis is asked whether it is there, and after another one it
// is not. The subscription is then tried again, less and less often.
const (
	silence       = time.Second
	reconnectMost = 5 * time.Second
)

// Changes is tenant.Changes by pub/sub, and the receiver of what others
// announce. Run it for the life of the process.
type Changes struct {
	redis *redis.Client
	log   *slog.Logger
	clear func()
	self  string        // the sender of our messages
	due   chan struct{} // holds one when clear is to be called
}

var _ tenant.Changes = (*Changes)(nil)

// New makes the changes of a process, whose client redisconn.Open made. clear,
// which Directory.Clear is, is called when another process announced a change,
// or may have while this one could not hear it; at most ten times a second.
func New(client *redis.Client, log *slog.Logger, clear func()) *Changes {
	return &Changes{redis: client, log: log, clear: clear, self: rand.Text(), due: make(chan struct{}, 1)}
}

// Announce implements tenant.Changes. It tells other processes only: the one that made the
// change has cleared for itself.
func (c *Changes) Announce(ctx context.Context) {
	// The change is made, whether or not the one who asked for it waits.
	if err := c.redis.Publish(context.WithoutCancel(ctx), channel, c.self).Err(); err != nil {
		c.log.DebugContext(ctx, "a change of hosts was not announced; other nodes see it in "+tenant.CacheTTL.String(), "error", err)
	}
}

// Run listens until ctx ends.
func (c *Changes) Run(ctx context.Context) {
	var clearing sync.WaitGroup
	clearing.Go(func() { c.clearWhenDue(ctx) })
	defer clearing.Wait()
	again := backoff.NewExponentialBackOff() // from half a second, with jitter
	again.MaxInterval = reconnectMost
	for {
		err := c.listen(ctx, again.Reset)
		if ctx.Err() != nil {
			return
		}
		c.log.DebugContext(ctx, "changes of hosts cannot be heard for now; they are seen within "+tenant.CacheTTL.String(), "error", err)
		_ = pause.For(ctx, again.NextBackOff()) // listen sees that ctx ended
	}
}

// listen subscribes and passes messages on until it cannot. Once it can, it
// says so.
func (c *Changes) listen(ctx context.Context, heard func()) error {
	s := c.redis.Subscribe(ctx) // it connects when it is told the channel
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _ = s.Close() })() // ends the wait for a message
	if err := s.Subscribe(ctx, channel); err != nil {
		return err
	}
	asked := true // and no answer yet
	for {
		message, err := s.ReceiveTimeout(ctx, silence)
		switch m := message.(type) {
		case *redis.Subscription: // whatever was announced before was not heard
			heard()
			c.changed()
		case *redis.Message:
			if m.Payload != c.self {
				c.changed()
			}
		}
		quiet := isTimeout(err)
		if err != nil && (asked || !quiet) {
			return err
		}
		if asked = quiet; asked {
			if err := s.Ping(ctx); err != nil {
				return err
			}
		}
	}
}

func isTimeout(err error) bool {
	var failure net.Error
	return errors.As(err, &failure) && failure.Timeout()
}

// changed asks for a clear. Nothing in a message but that it came is believed.
func (c *Changes) changed() {
	select {
	case c.due <- struct{}{}:
	default: // one is due already, and comes after this change
	}
}

// clearWhenDue clears at once, and then not again before its time.
func (c *Changes) clearWhenDue(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.due:
		}
		c.clear()
		_ = pause.For(ctx, clearEvery)
	}
}
