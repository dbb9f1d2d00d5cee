package lease

import (
	"context"
	"sync"
)

// Memory is Leases among the callers of one process. Its leases are never lost,
// and held until they are released.
type Memory struct {
	mu   sync.Mutex
	held map[Key]string // the note
}

var _ Leases = (*Memory)(nil)

// NewMemory makes a Memory in which nothing is held.
func NewMemory() *Memory { return &Memory{held: map[Key]string{}} }

// Acquire implements Leases.
func (m *Memory) Acquire(_ context.Context, k Key, note string) (Lease, string, bool) {
	if len(note) > MaxNote {
		note = ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if theirs, taken := m.held[k]; taken {
		return nil, theirs, false
	}
	m.held[k] = note
	return &memoryLease{release: sync.OnceFunc(func() { m.release(k) })}, "", true
}

func (m *Memory) release(k Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, k)
}

type memoryLease struct{ release func() }

// Lost implements Lease: a nil channel is never closed.
func (l *memoryLease) Lost() <-chan struct{} { return nil }

// Release implements Lease.
func (l *memoryLease) Release() { l.release() }
