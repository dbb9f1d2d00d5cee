// Package lease lets one caller do the work that many ask for.
//
// A lease saves work and decides nothing. It may be granted to two callers at
// once, denied to all of them for ever, or lost while it is held; every caller
// must stay right anyway, and only work more (protocol section 8). What
// must not happen twice is prevented by the store that it happens in.
package lease

import (
	"context"
	"sync"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Key names the work.
type Key struct {
	Kind   string    // a constant of the caller: "sweep", "fetch"
	Tenant tenant.ID // 0 for work of the whole deployment
	Name   string    // may be empty; it may come from outside and be long
}

// MaxNote is the most bytes of a note.
const MaxNote = 256

// Leases hands leases out. Implementations are safe for concurrent use.
type Leases interface {
	// Acquire asks for the lease of k without waiting. When the answer is
	// true the caller does the work, and then releases the lease. Else another
	// caller does it already, and the text is the note of that caller, such as where
	// the result can be read; it may be empty or out of date.
	//
	// It never fails: where the leases cannot be asked, the caller gets one and does
	// the work itself. A note longer than MaxNote is not left.
	Acquire(ctx context.Context, k Key, note string) (Lease, string, bool)
}

// Lease is held from Acquire until it is released or lost. It is safe for
// concurrent use.
type Lease interface {
	// Lost is closed once others may have the lease too. The holder may continue; it
	// then does work that another caller may do as well.
	Lost() <-chan struct{}
	// Release lets others have the lease at once. It takes a moment at most, and
	// more than one call is harmless.
	Release()
}

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
