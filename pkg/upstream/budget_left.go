package upstream

import (
	"net/http"
	"time"
)

// TagStretch is how many times its life a tag should be served without a request: 1
// unless the upstream said that little is left of its budget.
func (c *Client) TagStretch() int {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(kindManifests).stretch(time.Now())
}

// ListStretch is TagStretch for a list of tags or referrers. The budgets of manifests and of
// both kinds of lists count: a registry with one budget for all of them may say so only
// with some.
func (c *Client) ListStretch() int {
	b, now := c.budget, time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	most := 1
	for _, kind := range []string{kindManifests, "tags", "referrers"} {
		if a := b.kinds[kind]; a != nil {
			most = max(most, a.stretch(now))
		}
	}
	return most
}

// stretch is how many times longer than usual answers should be kept.
func (a *allowance) stretch(now time.Time) int {
	switch {
	case !a.isCurrent(now) || a.Remaining*scarce >= a.Limit:
		return 1
	case a.Remaining == 0:
		return mostStretch
	default:
		return int(min(mostStretch, 1+a.Limit/(scarce*a.Remaining)))
	}
}

// HeadFirst reports whether a HEAD may save a GET of a manifest: the upstream limits
// them, and a HEAD costs nothing, as at Docker Hub.
func (c *Client) HeadFirst() bool {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(kindManifests)
	return a.isCurrent(time.Now()) && b.isFree(a, http.MethodHead)
}

// least is the limit of which the smallest share is left.
func (b *budget) least() RateLimit {
	b.mu.Lock()
	defer b.mu.Unlock()
	var least RateLimit
	for _, a := range b.kinds {
		if a.Limit > 0 && (least.Limit == 0 || a.less(least)) {
			least = a.RateLimit
		}
	}
	return least
}
