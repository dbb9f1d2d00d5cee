package clusterrun

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/dice"
)

// TestR2_NodesKilled kills nodes under load, one at a time, and starts each
// again.
func TestR2_NodesKilled(t *testing.T) {
	for name, layout := range map[string][]string{"whole": whole, "split": split} {
		t.Run(name, func(t *testing.T) {
			kills := dice.Count(t, 4, 100)
			c := newCluster(t, layout)
			l := c.begin(12)
			for i := range kills {
				l.lull(c.between(200*time.Millisecond, 1200*time.Millisecond))
				n := c.nodes[c.rng.IntN(len(c.nodes))]
				for i%2 == 0 && !n.runs("registry") && !n.runs("upload") { // most of the work is theirs
					n = c.nodes[c.rng.IntN(len(c.nodes))]
				}
				c.must(n.Kill())
				l.lull(c.between(0, 800*time.Millisecond))
				c.must(n.Start(t.Context()))
			}
			l.lull(500 * time.Millisecond)
			l.end()
			c.verify()
		})
	}
}

// stopWithin is how long a node may take to end in order.
const stopWithin = 30 * time.Second

// TestR13_RollingRestart ends all nodes in order and starts them again, one
// after the other, under load. No one is told "later", and Postgres has no more
// than twice the work.
func TestR13_RollingRestart(t *testing.T) {
	const clients = 32
	rounds := dice.Count(t, 1, 10)
	postgres := newObservedPostgres(t)
	c := clusterOn(t, whole, "BERTH_META="+postgres.URL())
	l := c.begin(clients)
	requests := func() int { return c.counts().asked }
	l.lull(2 * time.Second) // the pool of blobs is there then: what follows is steady
	steady := postgres.observe(requests, func() { l.lull(6 * time.Second) })
	var slowest time.Duration
	restarting := postgres.observe(requests, func() {
		for range rounds {
			for _, n := range c.nodes {
				slowest = max(slowest, c.stopAmidUpload(n))
				c.must(n.Start(t.Context()))
				l.lull(time.Second)
			}
		}
	})
	l.end()
	t.Logf("steady: %v; restarting: %v; a node took %v to stop at most", steady, restarting, slowest.Round(time.Millisecond))
	if slowest > stopWithin {
		t.Errorf("a node took %v to stop", slowest)
	}
	if restarting.connections > 2*steady.connections || restarting.cost > 2*steady.cost {
		t.Error("the restarts more than double the work of Postgres")
	}
	c.noneRefused()
	seen := c.counts()
	// A connection may end just when a request comes in on it, and the edge does not
	// know whether it was read.
	if stops := rounds * len(c.nodes); len(seen.cut) > clients*stops {
		t.Errorf("%d requests were cut in %d stops", len(seen.cut), stops)
	}
	for _, what := range seen.cut {
		t.Log("cut: ", what)
	}
	c.verify()
}

// stopAmidUpload ends a node in order while it takes a chunk, which it must take
// to its end. It returns how long the node took.
func (c *cluster) stopAmidUpload(n *node) time.Duration {
	c.t.Helper()
	u := c.openUpload("kill/drained", partSize+4*chunk)
	body := u.stall(c.only(n), partSize+chunk)
	await.True(c.t, time.Minute, "a part is stored", func() bool { // the node is at it
		held, _, err := c.oci(c.edge).Offset(c.t.Context(), u.location)
		c.must(err)
		return held >= partSize
	})
	var last answer
	var taken sync.WaitGroup
	taken.Go(func() {
		err := await.Within(c.t.Context(), time.Minute, "the node drains", func() bool { return !n.Ready(c.t.Context()) })
		if err != nil {
			c.t.Error(err)
		}
		last = body.rest()
	})
	began := time.Now()
	c.must(n.Stop())
	took := time.Since(began)
	taken.Wait()
	if last.status != http.StatusAccepted {
		c.t.Errorf("a chunk that was in flight when its node was told to stop: status %d, %v", last.status, last.err)
	}
	c.must(u.finish(c.t.Context(), c.oci(c.edge)))
	c.charged += int64(len(u.bytes))
	return took
}
