// Package turns serialises the writers of one object: the next one takes over
// as soon as the previous one has let go.
package turns

import (
	"context"
	"errors"
	"sync"

	"github.com/berth-registry/berth/pkg/blob"
)

// ErrClosed is returned to writers while the process stops.
var ErrClosed = errors.New("the store is closed")

// Table holds whose turn it is. Its zero value is ready; it is safe for
// concurrent use.
type Table struct {
	mu     sync.Mutex
	turns  map[blob.Key]*Turn
	closed bool
}

// Turn is one writer's time with an object.
type Turn struct {
	table  *Table
	key    blob.Key
	epoch  int64
	fenced chan struct{} // closed when a later writer wants the object
	ended  chan struct{}
	once   sync.Once
}

// Take gives the caller the object as soon as the previous writer is gone:
// blob.ErrFenced when that one has a higher epoch, the cause of ctx when it ends
// first. The caller ends the turn.
func (t *Table) Take(ctx context.Context, k blob.Key, epoch int64) (*Turn, error) {
	w := &Turn{table: t, key: k, epoch: epoch, fenced: make(chan struct{}), ended: make(chan struct{})}
	for {
		old, err := t.register(w)
		if old == nil {
			return w, err
		}
		if old.epoch > w.epoch {
			return nil, blob.ErrFenced
		}
		old.fence()
		select {
		case <-old.ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// register makes it w's turn unless it is another's, which it returns.
func (t *Table) register(w *Turn) (*Turn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	if old := t.turns[w.key]; old != nil {
		return old, nil
	}
	if t.turns == nil {
		t.turns = make(map[blob.Key]*Turn)
	}
	t.turns[w.key] = w
	return nil, nil
}

// Close gives no more turns, fences the writers and waits until all are gone.
func (t *Table) Close() {
	t.mu.Lock()
	t.closed = true
	running := make([]*Turn, 0, len(t.turns))
	for _, w := range t.turns {
		running = append(running, w)
	}
	t.mu.Unlock()
	for _, w := range running {
		w.fence()
		<-w.ended
	}
}

func (w *Turn) fence() { w.once.Do(func() { close(w.fenced) }) }

// Fenced is closed when the writer must let go.
func (w *Turn) Fenced() <-chan struct{} { return w.fenced }

// IsFenced says whether the writer must let go.
func (w *Turn) IsFenced() bool {
	select {
	case <-w.fenced:
		return true
	default:
		return false
	}
}

// End lets the next writer in; call it once, when the object is no longer
// touched.
func (w *Turn) End() {
	w.table.mu.Lock()
	delete(w.table.turns, w.key)
	w.table.mu.Unlock()
	close(w.ended)
}
