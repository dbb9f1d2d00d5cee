// Package password hashes the passwords of people with argon2id, at a cost in processor time
// and memory that is bounded for a process and fair among tenants.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"runtime"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Lengths of a password in bytes.
const (
	MinLength = 10
	MaxLength = 256
)

// SecretPrefix begins generated secrets, such as keys and access tokens. No password begins
// so, and what does is never tried as one.
const SecretPrefix = "berth_"

// PersonPrefix begins access tokens of people that count in all tenants.
const PersonPrefix = SecretPrefix + "person_"

// Possible reports whether a secret can be a password.
func Possible(secret string) bool {
	return secret != "" && len(secret) <= MaxLength && !strings.HasPrefix(secret, SecretPrefix)
}

// Bounds of a Hasher's gate.
const (
	maxWaiting = 32 // calls of one tenant
	maxWait    = 10 * time.Second
	retryAfter = 2 * time.Second
)

// Hasher makes and checks hashes. Safe for concurrent use.
type Hasher struct {
	cost  Cost
	gate  *fairgate.Gate[tenant.ID]
	dummy phc
}

// maxAtOnce is how many hash at a time on any machine, so that they take 256 MiB at most.
const maxAtOnce = 8

// New makes a Hasher whose hashes cost this. At most half of the processors hash at a time,
// at least two and at most eight, and one of them is left to other tenants.
func New(c Cost) *Hasher {
	at := int64(min(max(2, runtime.GOMAXPROCS(0)/2), maxAtOnce))
	h := &Hasher{cost: c, gate: fairgate.New[tenant.ID](fairgate.Options{Capacity: at, Most: at - 1, MaxWaiting: maxWaiting})}
	h.dummy = phc{cost: c, salt: random(saltBytes), key: random(keyBytes)}
	return h
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand
	return b
}

// Hash returns the hash of a tenant's password in PHC form, with a salt of its own.
func (h *Hasher) Hash(ctx context.Context, t tenant.ID, password string) (string, error) {
	p := phc{cost: h.cost, salt: random(saltBytes)}
	err := h.within(ctx, t, func() { p.key = h.cost.key(password, p.salt) })
	if err != nil {
		return "", err
	}
	return p.String(), nil
}

// Verify reports whether the password has this hash. An empty hash, or one that is not
// valid, is of no password, and takes as long to compare.
func (h *Hasher) Verify(ctx context.Context, t tenant.ID, password, hash string) (bool, error) {
	p, valid := parsePHC(hash)
	if !valid {
		p = h.dummy
	}
	var same bool
	err := h.within(ctx, t, func() { same = subtle.ConstantTimeCompare(p.cost.key(password, p.salt), p.key) == 1 })
	return valid && same, err
}

// Stale reports whether a hash was made at another cost, and should be made again.
func (h *Hasher) Stale(hash string) bool {
	p, valid := parsePHC(hash)
	return !valid || p.cost != h.cost
}

// within runs work when the tenant's turn has come.
func (h *Hasher) within(ctx context.Context, t tenant.ID, work func()) error {
	if err := h.gate.AcquireWithin(ctx, t, 1, maxWait); err != nil {
		busy := fault.Wrap(err, fault.Unavailable, fault.Busy, "too many passwords are being checked; retry later, or log in with an access token")
		busy.RetryAfter = retryAfter
		return busy
	}
	defer h.gate.Release(t, 1)
	work()
	return nil
}
