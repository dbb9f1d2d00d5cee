package metatest

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
)

// Hasty are lifetimes of moments, so that everything is collected while it is used.
var Hasty = meta.Lifetimes{
	UploadTTL: time.Minute, Grace: 300 * time.Millisecond, HeadGrace: 300 * time.Millisecond, Released: 50 * time.Millisecond,
	StagedDelay: time.Millisecond, DeleteDelay: 10 * time.Millisecond, Evicted: time.Millisecond,
	Committed: time.Minute, Quarantine: time.Minute, Undelete: time.Second,
}

// keptBytes is a store of objects that deletes them now, later, or twice.
type keptBytes struct {
	mu    sync.Mutex
	there map[blob.Key]bool
	late  []blob.Key
}

func (k *keptBytes) write(key blob.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.there[key] = true
}

func (k *keptBytes) has(key blob.Key) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.there[key]
}

// remove deletes an object, or an earlier one in its place.
func (k *keptBytes) remove(key blob.Key, play *rand.Rand) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.late = append(k.late, key)
	if play.IntN(2) == 0 {
		key = k.late[play.IntN(len(k.late))]
	}
	delete(k.there, key)
}

// clientsOf is how many clients each of two tenants has.
const clientsOf = 3

// RunNodes lets clients of several nodes over one database push, mount, adopt, look,
// move tags, delete, undelete and purge at random while all nodes collect what is due, which
// is so after moments: the stores have the lifetimes Hasty. Each client has a repository of
// its own, so that it knows what is in it; those of a tenant share their blobs and purges.
// Calls of the store are counted.
func RunNodes(t *testing.T, nodes []meta.Store, calls int) {
	t.Helper()
	w := world{Harness: Harness{Store: nodes[0]}, t: t}
	kept := &keptBytes{there: map[blob.Key]bool{}}
	seed := dice.Seed(t)
	var left atomic.Int64
	left.Store(int64(calls))
	var clients []*client
	for _, slug := range []string{"acme", "other"} {
		w.tenant, w.registry = w.addTenant(slug, 0)
		purges := newTenantPurges()
		for i := range clientsOf {
			clients = append(clients, newClient(w, i, nodes, kept, &left, purges, seed))
		}
		t.Cleanup(func() { t.Logf("count %d purges of %s, of which %d ended all", len(purges.all), slug, purges.whole()) })
	}
	var janitors, all sync.WaitGroup
	done := make(chan struct{})
	for i, node := range nodes {
		j := w
		j.Store = node
		play := rand.New(rand.NewPCG(seed, uint64(1000+i)))
		j.deleted = func(key blob.Key) { kept.remove(key, play) }
		janitors.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					j.fine(j.tryCollect())
				}
			}
		})
	}
	for _, c := range clients {
		all.Go(c.run)
	}
	all.Wait()
	close(done)
	janitors.Wait()
	for _, c := range clients {
		c.follow()
		c.compare()
	}
	w.consistent()
	for _, c := range clients {
		ignore(t, w.Store.DeleteRepository(t.Context(), cause(), c.repo), "NAME_UNKNOWN")
	}
	await.True(t, time.Minute, "nothing is left", func() bool {
		w.fine(w.tryCollect())
		return len(w.objects()) == 0
	})
	w.consistent()
}
