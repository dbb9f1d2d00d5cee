// Package credential obtains the credentials of registries where they are not passwords
// of a tenant: from cloud roles, token exchanges, programs and files.
//
// A Helper is declared by the operator, under a name, and granted to tenants. It
// gives its credential only for registries of its own kind, and those that the
// operator lists. What it talks to is not what upstreams may be: only its client
// reaches the metadata addresses of clouds.
package credential

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/fault"
)

// Credential is what a registry takes, until it expires.
type Credential struct {
	Username, Secret string
	// Refresh says that Secret is an OAuth 2 refresh token: only token endpoints take it
	// (the user "<token>" of Docker's credential helpers).
	Refresh bool
	Taken   time.Time // when it was obtained
	Expires time.Time // when another one is obtained
}

// String omits the secret, so that it is not printed by mistake.
func (c Credential) String() string { return "credential of " + c.Username }

// Registry is the registry that a credential is for.
type Registry struct {
	URL *url.URL // scheme and host, in lower case and without the default port
	// Transport is for requests to the registry's own host, which a tenant chose: it
	// refuses addresses that upstreams must not have.
	Transport http.RoundTripper
}

// source obtains a credential. Errors are of kind fault.Denied if it was refused,
// fault.TooMany if there were too many requests; all others are outages. A zero
// Expires means the lifetime that is configured.
type source interface {
	obtain(ctx context.Context, r Registry) (Credential, error)
	// key is the same for registries that take the same credential.
	key(r Registry) string
}

// Bounds of what is kept.
const (
	mostKept = 512
	// failureLife is how long a failure counts, so that requests of tenants do not
	// decide how often a cloud is called.
	failureLife = 10 * time.Second
	// forgetInterval is the minimum time between credentials that Forget drops.
	forgetInterval = time.Minute
	slack          = time.Minute // before it expires, a credential is replaced
	// defaultTimeout bounds obtaining a credential.
	defaultTimeout = 20 * time.Second
	// maxReply bounds what a source reads, in bytes.
	maxReply = 64 << 10
)

// Held keeps the credentials of a source until they expire. Concurrent callers share
// one request. It is safe for concurrent use.
type Held struct {
	source  source
	failed  func(r Registry, err error) // called for each failure; may be nil
	life    time.Duration               // of a credential that does not say
	timeout time.Duration
	now     func() time.Time

	mu     sync.Mutex
	known  *lru.Cache[string, entry]
	flight singleflight.Group
}

type entry struct {
	credential Credential
	err        error
	until      time.Time
	forgotten  time.Time // when the one before was dropped by Forget
}

func hold(s source, life, timeout time.Duration) *Held {
	known, err := lru.New[string, entry](mostKept)
	if err != nil {
		panic("credential: " + err.Error()) // only a size below 1 is an error, and mostKept is constant
	}
	return &Held{source: s, life: life, timeout: timeout, now: time.Now, known: known}
}

// Find returns the credential for the registry. A caller that leaves does not end a
// request that others wait for.
func (h *Held) Find(ctx context.Context, r Registry) (Credential, error) {
	key := h.source.key(r)
	if e, ok := h.kept(key); ok {
		return e.credential, e.err
	}
	done := h.flight.DoChan(key, func() (any, error) {
		if e, ok := h.kept(key); ok { // an earlier request ended meanwhile
			return e.credential, e.err
		}
		return h.obtain(context.WithoutCancel(ctx), key, r)
	})
	select {
	case <-ctx.Done():
		return Credential{}, ctx.Err()
	case result := <-done:
		if result.Err != nil {
			return Credential{}, result.Err
		}
		return result.Val.(Credential), nil
	}
}

func (h *Held) obtain(ctx context.Context, key string, r Registry) (Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	now := h.now()
	c, err := h.source.obtain(ctx, r)
	if err == nil && (c.Secret == "" || strings.ContainsFunc(c.Username+c.Secret, isControl)) {
		err = errors.New("the credential is empty or has control characters")
	}
	e := entry{err: err, until: now.Add(failureLife)}
	if err != nil && h.failed != nil {
		h.failed(r, err)
	}
	if err == nil {
		c.Taken = now
		if c.Expires.IsZero() {
			c.Expires = now.Add(h.life)
		} else if left := c.Expires.Sub(now); left > 0 {
			c.Expires = c.Expires.Add(-min(slack, left/5))
		}
		e.credential, e.until = c, maxTime(c.Expires, e.until)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if before, ok := h.known.Peek(key); ok {
		e.forgotten = before.forgotten
	}
	h.known.Add(key, e)
	return c, err
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func (h *Held) kept(key string) (entry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.known.Get(key)
	return e, ok && h.now().Before(e.until)
}

// Forget drops a credential that the registry refused, one per forgetInterval.
func (h *Held) Forget(r Registry, refused Credential) {
	key := h.source.key(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if e, ok := h.known.Get(key); ok && e.credential == refused && now.Sub(e.forgotten) >= forgetInterval {
		h.known.Add(key, entry{forgotten: now})
	}
}

// refused is the error for a status with which a source's service answered, nil for
// success.
func refused(status int, service string) error {
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.New(fault.Denied, fault.DeniedReason, "%s refused it with status %d", service, status)
	case status == http.StatusTooManyRequests:
		return fault.New(fault.TooMany, fault.TooManyRequests, "%s allows no more requests for now", service)
	default:
		return fault.New(fault.BadUpstream, fault.UnavailableReason, "%s answered with status %d", service, status)
	}
}
