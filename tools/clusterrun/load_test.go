package clusterrun

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/pause"
)

// load is clients at work. Its context ends when one of them sees what must
// never happen, or when the load is stopped.
type load struct {
	context.Context
	cluster *cluster
	cancel  context.CancelFunc
	clients sync.WaitGroup

	mu       sync.Mutex
	failures []error
	since    time.Time
}

// begin lets clients work.
func (c *cluster) begin(clients int) *load {
	c.t.Helper()
	l := &load{cluster: c, since: time.Now()}
	l.Context, l.cancel = context.WithCancel(c.t.Context())
	oci := c.oci(c.edge)
	for range clients {
		worker := c.client(oci)
		l.clients.Go(func() { l.failed(worker.Work(l)) })
	}
	return l
}

func (l *load) failed(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, err)
	l.cancel()
}

// lull lets the clients work for a while.
func (l *load) lull(d time.Duration) { _ = pause.For(l, d) }

// end stops the clients, and fails the test if one of them, or the edge, has
// seen what must never happen.
func (l *load) end() {
	t := l.cluster.t
	t.Helper()
	l.cancel()
	l.clients.Wait()
	took := time.Since(l.since)
	seen := l.cluster.counts()
	for _, w := range seen.wrong {
		t.Error("must never be answered: ", w)
	}
	if err := errors.Join(l.failures...); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v: %d requests, %d writes acknowledged, %d with an unknown outcome, %d requests cut, refused by status: %v", took.Round(time.Millisecond),
		seen.asked, l.cluster.world.Acknowledged(), l.cluster.world.Lost(), len(seen.cut), seen.refused)
}
