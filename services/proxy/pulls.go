package proxy

import (
	"context"
	"sync"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// maxPulls is how many different pulls are gathered. What is beyond is not
// recorded this time: it counts as not pulled.
const maxPulls = 65536

// pulls gathers what was pulled from the cache, so that it is kept, without a
// write for each.
type pulls struct {
	mu   sync.Mutex
	seen map[pullKey]meta.CachedPull
}

type pullKey struct {
	repo   meta.Repo
	digest oci.Digest
}

func newPulls() *pulls { return &pulls{seen: map[pullKey]meta.CachedPull{}} }

func (p *pulls) add(pull meta.CachedPull) {
	key := pullKey{pull.Repo, pull.Digest}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, seen := p.seen[key]; seen || len(p.seen) < maxPulls {
		p.seen[key] = pull
	}
}

// recorded is how many pulls one call of the store takes.
const recorded = 1000

func (p *pulls) flush(ctx context.Context, m Meta) error {
	p.mu.Lock()
	seen := p.seen
	p.seen = map[pullKey]meta.CachedPull{}
	p.mu.Unlock()

	batch := make([]meta.CachedPull, 0, min(len(seen), recorded))
	for _, pull := range seen {
		if batch = append(batch, pull); len(batch) == recorded {
			if err := m.RecordPulls(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return m.RecordPulls(ctx, batch)
}
