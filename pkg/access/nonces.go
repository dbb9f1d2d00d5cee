package access

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// maxNonces is how many calls are remembered. Each takes some 20 bytes.
const maxNonces = 1 << 20

// nonceLife is how long after it arrived a call could arrive again: with the clock of
// its signer ahead by the leeway, and that of this process behind.
const nonceLife = internalTTL + 2*leeway

// errTooMany refuses a call from a time whose calls are no longer remembered.
var errTooMany = errors.New("internal token: too many calls came after it; retry")

// nonces remembers accepted calls in bounded memory, in two generations. When it is
// full, it forgets the oldest and refuses calls from their time. Safe for concurrent use.
type nonces struct {
	half int

	mu          sync.Mutex
	now, before generation
	floor       time.Time // calls that were signed until then are refused
}

// generation is what was taken in a while.
type generation struct {
	calls  map[uint64]struct{}
	since  time.Time
	newest time.Time // when the youngest was signed
}

func newNonces(most int) *nonces { return &nonces{half: max(most/2, 1)} }

// take remembers a signed call, unless it was already accepted.
func (n *nonces) take(said string, signed, at time.Time) error {
	sum := sha256.Sum256([]byte(said))
	key := binary.BigEndian.Uint64(sum[:]) // it holds a nonce, so that calls do not collide
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.now.calls == nil || at.Sub(n.now.since) >= nonceLife || len(n.now.calls) >= n.half {
		n.turn(at)
	}
	if !signed.After(n.floor) {
		return errTooMany
	}
	_, inNow := n.now.calls[key]
	_, inBefore := n.before.calls[key]
	if inNow || inBefore {
		return ErrInternalUsed
	}
	n.now.calls[key] = struct{}{}
	if signed.After(n.now.newest) {
		n.now.newest = signed
	}
	return nil
}

// turn begins a generation and forgets the second last.
func (n *nonces) turn(at time.Time) {
	// The last one began when the forgotten one ended.
	if len(n.before.calls) > 0 && at.Sub(n.now.since) < nonceLife && n.before.newest.After(n.floor) {
		n.floor = n.before.newest
	}
	n.before = n.now
	n.now = generation{calls: map[uint64]struct{}{}, since: at}
}
