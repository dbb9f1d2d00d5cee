package fetch_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
)

// die is a source of chance for several goroutines.
type die struct {
	mu   sync.Mutex
	play *rand.Rand
}

func (d *die) roll(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.play.IntN(n)
}

// moody leases are granted to several now and then, or to no one.
type moody struct {
	lease.Leases
	*die
}

func (m moody) Acquire(ctx context.Context, k lease.Key, note string) (lease.Lease, string, bool) {
	switch m.roll(8) {
	case 0:
		return lost{}, "", true
	case 1:
		return nil, "http://node1", false
	default:
		return m.Leases.Acquire(ctx, k, note)
	}
}

// TestR43_Chance: whatever nodes, leases, upstreams and clients do, no one gets
// wrong bytes as a complete blob, and nothing wrong or half done is kept.
func TestR43_Chance(t *testing.T) {
	d := &die{play: rand.New(rand.NewPCG(dice.Seed(t), 43))}
	for range dice.Count(t, 5, 300) {
		c := newCluster(t, 3, moody{lease.NewMemory(), d})
		playOnce(t, c, d)
	}
}

func playOnce(t *testing.T, c *cluster, d *die) {
	t.Helper()
	content := bytesOf(1 + d.roll(8*held))
	target := c.target(content)
	if d.roll(4) == 0 {
		target.Size = -1
	}
	s := &source{say: func(context.Context, int) (io.Reader, int64, error) {
		switch at := d.roll(len(content)); d.roll(8) {
		case 0:
			return nil, 0, errDown
		case 1, 2:
			return io.MultiReader(bytes.NewReader(content[:at]), failing{io.ErrUnexpectedEOF}), int64(len(content)), nil
		case 3:
			wrong := bytes.Clone(content)
			wrong[at]++
			return bytes.NewReader(wrong), int64(len(content)), nil
		default:
			return bytes.NewReader(content), int64(len(content)), nil
		}
	}}
	doomed := d.roll(6) // half of the time no one
	var all sync.WaitGroup
	i := 0
	for at, f := range c.nodes {
		if doomed == i {
			all.Go(func() { c.kill(at) })
		}
		for range 4 {
			leaves := d.roll(4) == 0
			all.Go(func() {
				o, err := f.Open(t.Context(), target, s.Open)
				if err != nil {
					return
				}
				defer o.Close()
				if leaves {
					return
				}
				if got, err := io.ReadAll(o); err == nil && !bytes.Equal(got, content) {
					t.Errorf("%d wrong bytes of %d end well", len(got), len(content))
				}
			})
		}
		i++
	}
	all.Wait()
	c.settle()
	if _, err := c.Meta.FindBlob(t.Context(), c.repo, target.Digest); fault.Is(err, fault.BlobUnknown) {
		c.mustLack(content)
		return
	}
	c.mustHold(content)
}
