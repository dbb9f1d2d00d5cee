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
	a := b.of(kindManifests)
	switch {
	case !a.isCurrent(time.Now()) || a.Remaining*scarce >= a.Limit:
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
