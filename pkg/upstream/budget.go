package upstream

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// budget is what a registry said that it allows to an account, or to all anonymous
// clients of this process, whose address they share. All clients of the account have
// the same budget. It is safe for concurrent use.
type budget struct {
	headsAreFree bool // known for this registry, and not learned

	mu    sync.Mutex
	kinds map[string]*allowance // by kind of request (contract row T5)
}

// allowance is the budget of one kind of request.
type allowance struct {
	RateLimit
	seenAt    time.Time
	said      int64               // Remaining in the last response
	gets      int64               // requests since then, besides HEAD
	freeHeads bool                // the last HEAD cost nothing
	spent     map[string]spending // by tenant
}

// spending is what a tenant asked for in a window that began at its first request.
type spending struct {
	requests int64
	since    time.Time
}

const (
	// defaultWindow is that of a limit that does not say what it is for.
	defaultWindow = time.Hour
	// mostSpenders is how many tenants of a budget are remembered.
	mostSpenders = 1024
	// scarce is the divisor for the part of a limit below which requests are saved.
	scarce = 4
	// mostStretch bounds TagStretch.
	mostStretch = 16
)

// budgets are those of all accounts.
type budgets struct {
	known *lru.Cache[budgetKey, *budget]
}

// budgetKey includes the password: a tenant that only names another's account has no
// part in its budget.
type budgetKey struct {
	origin  string
	account [sha256.Size]byte // zero for anonymous clients
	egress  string            // of anonymous clients: the proxy, whose address the registry sees
}

func newBudgets() budgets {
	return budgets{newLRU[budgetKey, *budget](mostClients, nil)}
}

// of returns the budget of a client.
func (b budgets) of(c *Client) *budget {
	key := budgetKey{origin: originOf(c.base)}
	switch cfg := c.config; {
	case !cfg.anonymous():
		key.account = sha256.Sum256([]byte(cfg.Username + "\x00" + cfg.Password + "\x00" + cfg.helperName()))
	case slices.ContainsFunc(c.owner.proxies, func(p Proxy) bool { return p.Tenant == cfg.Tenant && p.Name == cfg.Proxy }):
		key.egress = cfg.Tenant + "/" + cfg.Proxy
	default:
		key.egress = cfg.Proxy
	}
	fresh := &budget{headsAreFree: c.base.Host == hubHost, kinds: map[string]*allowance{}}
	if known, ok, _ := b.known.PeekOrAdd(key, fresh); ok {
		return known
	}
	return fresh
}

// sawLimits records the limits in a response header.
func (c *Client) sawLimits(kind, method string, header http.Header) {
	now := time.Now()
	if l, ok := readRateLimit(header, now); ok {
		c.budget.saw(kind, method, l, now)
		c.series.rateLimit(l)
	}
}

func (b *budget) saw(kind, method string, l RateLimit, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(kind)
	if method == http.MethodHead && a.isCurrent(now) {
		a.freeHeads = l.Remaining >= a.said-a.gets
	}
	a.RateLimit, a.seenAt, a.said, a.gets = l, now, l.Remaining, 0
}

// of is the allowance for the kind; what the upstream allows is not known at first.
func (b *budget) of(kind string) *allowance {
	a := b.kinds[kind]
	if a == nil {
		a = &allowance{spent: map[string]spending{}}
		b.kinds[kind] = a
	}
	return a
}

// isFree reports whether requests of the method cost nothing.
func (b *budget) isFree(a *allowance, method string) bool {
	return method == http.MethodHead && (a.freeHeads || b.headsAreFree)
}

// isCurrent reports whether what was seen still counts.
func (a *allowance) isCurrent(now time.Time) bool {
	if a.Reset.IsZero() {
		return now.Sub(a.seenAt) < defaultWindow
	}
	return now.Before(a.Reset)
}

func (a *allowance) window() time.Duration {
	if a.Window == 0 {
		return defaultWindow
	}
	return a.Window
}

// spend takes one request from the budget for the tenant. It returns false if what is
// left is kept for other tenants: each one that asked in the last window may use half
// of its equal share, whatever the others take, and all more as long as that much is left
// for the others.
func (b *budget) spend(kind, method, tenant string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(kind)
	if b.isFree(a, method) {
		return true
	}
	for t, s := range a.spent {
		if now.Sub(s.since) >= a.window() {
			delete(a.spent, t)
		}
	}
	own, shares := a.spent[tenant], int64(len(a.spent))
	if own.requests == 0 {
		own.since = now
		shares++
	}
	assured, kept := max(1, a.Limit/(2*shares)), int64(0)
	for t, s := range a.spent {
		if t != tenant {
			kept += max(0, assured-s.requests)
		}
	}
	if own.requests >= assured && a.Remaining <= kept && a.isCurrent(now) {
		return false
	}
	if own.requests++; method != http.MethodHead {
		a.gets++
	}
	a.Remaining = max(0, a.Remaining-1) // until the response says more
	if own.requests > 1 || len(a.spent) < mostSpenders {
		a.spent[tenant] = own
	}
	return true
}

// refund gives back a request that was not sent.
func (b *budget) refund(kind, method, tenant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(kind)
	if s, ok := a.spent[tenant]; ok && s.requests > 0 && !b.isFree(a, method) {
		s.requests--
		a.gets = max(0, a.gets-1)
		a.spent[tenant], a.Remaining = s, min(a.Remaining+1, a.Limit)
	}
}
