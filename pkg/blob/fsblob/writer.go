package fsblob

import (
	"context"
	"errors"
	"sync"

	"github.com/berth-registry/berth/pkg/blob"
)

// errClosed is what writers get while the process stops.
var errClosed = errors.New("the store is closed")

// writer is the one owner of an object's file. Writers of one object come
// after each other: the next has to wait until the one before is gone.
type writer struct {
	epoch  int64
	fenced chan struct{} // closed when a later writer wants the object
	gone   chan struct{} // closed when the file is no longer touched
	once   sync.Once
}

// fence tells the writer to let go.
func (w *writer) fence() { w.once.Do(func() { close(w.fenced) }) }

// lost says whether the writer was fenced.
func (w *writer) lost() bool {
	select {
	case <-w.fenced:
		return true
	default:
		return false
	}
}

// takeOver makes the caller the owner of the object, as soon as the owner
// before it is gone. ErrFenced when that one has a higher epoch.
func (s *Store) takeOver(ctx context.Context, st blob.Stage) (*writer, error) {
	w := &writer{epoch: st.Epoch, fenced: make(chan struct{}), gone: make(chan struct{})}
	for {
		old, err := s.register(st.Key, w)
		if old == nil {
			return w, err
		}
		if old.epoch > w.epoch {
			return nil, blob.ErrFenced
		}
		old.fence()
		select {
		case <-old.gone:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// register makes w the owner unless there is one, which it returns.
func (s *Store) register(k blob.Key, w *writer) (*writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, down(errClosed, "take an object over")
	}
	if old := s.writers[k]; old != nil {
		return old, nil
	}
	s.writers[k] = w
	return nil, nil
}

// release ends w's ownership; its file is closed by now.
func (s *Store) release(k blob.Key, w *writer) {
	s.mu.Lock()
	delete(s.writers, k)
	s.mu.Unlock()
	close(w.gone)
}
