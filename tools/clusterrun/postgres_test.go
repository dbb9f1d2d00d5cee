package clusterrun

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/tools/testserver"
)

// backWithin is how soon each node takes pushes again once Postgres does.
const backWithin = 5 * time.Second

// TestR20_PostgresRestarts crashes the database under load. The nodes live, so
// clients get an answer to every request, and each that failed says "later".
func TestR20_PostgresRestarts(t *testing.T) {
	t.Run("whole", func(t *testing.T) { restartPostgres(t, whole, dice.Count(t, 20, 200)) })
	t.Run("split", func(t *testing.T) { restartPostgres(t, split, dice.Count(t, 3, 200)) })
}

func restartPostgres(t *testing.T, layout []string, restarts int) {
	postgres := testserver.StartPostgres(t)
	c := clusterOn(t, layout, "BERTH_META="+postgres.URL())
	l := c.begin(12)
	var backs []time.Duration
	for range restarts {
		l.lull(c.between(200*time.Millisecond, 900*time.Millisecond))
		if l.Err() != nil {
			break
		}
		postgres.StopImmediate()
		l.lull(c.between(0, 300*time.Millisecond))
		postgres.Start()
		backs = append(backs, c.back())
	}
	l.end()
	c.noneCut()
	if c.counts().refusals() == 0 {
		t.Error("no request failed: no one noticed the restarts")
	}
	slices.Sort(backs)
	t.Logf("pushes worked again after %v at most, %v in the median", backs[len(backs)-1].Round(time.Millisecond), backs[len(backs)/2].Round(time.Millisecond))
	c.verify()
}

// TestR21_FailoverToSynchronousStandby kills the primary under load and promotes
// the standby. The nodes know of both.
func TestR21_FailoverToSynchronousStandby(t *testing.T) {
	failovers := dice.Count(t, 1, 10)
	for range failovers {
		failOver(t)
	}
}

func failOver(t *testing.T) {
	primary := testserver.StartPostgres(t)
	standby := primary.Standby(true)
	both := strings.Replace(primary.URL(), primary.Addr(), primary.Addr()+","+standby.Addr(), 1)
	c := clusterOn(t, whole, "BERTH_META="+both)
	l := c.begin(12)
	l.lull(c.between(2*time.Second, 4*time.Second))
	primary.Kill()
	l.lull(c.between(0, time.Second))
	standby.Promote()
	t.Logf("pushes worked again %v after the promotion", c.back().Round(time.Millisecond))
	l.lull(2 * time.Second)
	l.end()
	c.noneCut()
	c.verify()
}

// back waits until every node that takes pushes does so, and returns how long that took.
func (c *cluster) back() time.Duration {
	c.t.Helper()
	began := time.Now()
	var nodes sync.WaitGroup
	for _, n := range c.nodes {
		if !n.runs("upload") {
			continue
		}
		prober := c.client(c.only(n))
		nodes.Go(func() {
			var refused error
			late := await.Within(c.t.Context(), backWithin, n.Data+" takes a push", func() bool {
				refused = prober.Push(c.t.Context())
				return refused == nil
			})
			if late != nil {
				c.t.Errorf("after Postgres took connections: %v: %v", late, refused)
			}
		})
	}
	nodes.Wait()
	return time.Since(began)
}
