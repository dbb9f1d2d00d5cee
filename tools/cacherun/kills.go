package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/tools/internal/server"
)

// restart is how long a pull may wait for a server that was killed.
const restart = 30 * time.Second

// killer kills the server while images are pulled and evicted, and starts it again.
type killer struct {
	srv   *server.Server
	every int // pulls between two kills; 0 = never
	count atomic.Int64
	next  chan struct{}
	ended chan error
}

func startKiller(ctx context.Context, srv *server.Server, kills, pulls int) *killer {
	k := &killer{srv: srv, next: make(chan struct{}, kills), ended: make(chan error, 1)}
	if kills > 0 {
		k.every = pulls / (kills + 1)
	}
	go func() {
		for range k.next {
			if err := errors.Join(srv.Kill(), srv.Start(ctx)); err != nil {
				k.ended <- err
				return
			}
		}
		k.ended <- nil
	}()
	return k
}

// pulled counts a pull.
func (k *killer) pulled() {
	if n := k.count.Add(1); k.every > 0 && n%int64(k.every) == 0 {
		select {
		case k.next <- struct{}{}:
		default: // the last kills are over
		}
	}
}

func (k *killer) end() error {
	close(k.next)
	return <-k.ended
}

// pull pulls once, or again while the connection breaks because the server was killed.
func (k *killer) pull(ctx context.Context, c client, up *upstream, image int) error {
	if k.every == 0 {
		return c.pull(ctx, up, image)
	}
	var last error
	err := await.Within(ctx, restart, "a pull from the server that was started again", func() bool {
		last = c.pull(ctx, up, image)
		return !broken(last)
	})
	return errors.Join(err, last)
}

// broken reports whether a connection broke, or was refused.
func broken(err error) bool {
	var transport *url.Error
	var network net.Error
	return errors.As(err, &transport) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
}
