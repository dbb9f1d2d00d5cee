package upstream

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// RateLimit is how many requests an upstream said that it allows. The zero value means
// that it said nothing.
type RateLimit struct {
	Limit     int64
	Remaining int64         // 0 to Limit
	Window    time.Duration // that Limit is for; 0 = not said
	Reset     time.Time     // when all are allowed again, at the latest; zero = not said
}

// Limits of what an upstream may say, so that one answer does not count for years.
const (
	mostRequests  = 1 << 40
	longestWindow = 31 * 24 * time.Hour
	firstEpoch    = 1_000_000_000 // a greater reset is a time, a smaller one a duration, in seconds
)

// readRateLimit reads the limits in a response header, in the forms that registries use:
// Docker Hub's ("100;w=21600"), those of the drafts "RateLimit header fields for HTTP"
// (httpapi, until 07 and from 08 on), and X-RateLimit-*. Of several limits it
// returns the one of which the smallest share is left.
func readRateLimit(h http.Header, now time.Time) (RateLimit, bool) {
	if l, ok := readStructured(h, now); ok {
		return l, true
	}
	for _, prefix := range []string{"Ratelimit-", "X-Ratelimit-", "X-Rate-Limit-"} {
		limit, ok := firstOf(h, prefix+"Limit")
		remaining, known := firstOf(h, prefix+"Remaining")
		if !ok || !known {
			continue
		}
		l := RateLimit{Limit: limit.n, Remaining: remaining.n, Window: max(limit.seconds("w"), remaining.seconds("w"))}
		if l.Window == 0 {
			l.Window = policies(h)[strconv.FormatInt(limit.n, 10)].window
		}
		if reset, ok := firstOf(h, prefix+"Reset"); ok {
			l.Reset = resetAt(reset.n, now)
		}
		return l.checked(now)
	}
	return RateLimit{}, false
}

// readStructured reads the field RateLimit: a list of policies with what is left of
// each, or, in draft 07, limit, remaining and reset.
func readStructured(h http.Header, now time.Time) (RateLimit, bool) {
	values := h["Ratelimit"]
	if len(values) == 0 {
		return RateLimit{}, false
	}
	if d, err := httpsfv.UnmarshalDictionary(values); err == nil {
		limit, remaining := memberOf(d, "limit"), memberOf(d, "remaining")
		if limit.ok && remaining.ok {
			l := RateLimit{Limit: limit.n, Remaining: remaining.n, Window: policies(h)[strconv.FormatInt(limit.n, 10)].window}
			if reset := memberOf(d, "reset"); reset.ok {
				l.Reset = resetAt(reset.n, now)
			}
			return l.checked(now)
		}
	}
	known := policies(h)
	var least RateLimit
	found := false
	for _, m := range membersOf(values) {
		p, isKnown := known[m.name]
		remaining, ok := m.param("r")
		if !ok || !isKnown || p.quota == 0 {
			continue
		}
		l := RateLimit{Limit: p.quota, Remaining: remaining, Window: p.window}
		if t, ok := m.param("t"); ok {
			l.Reset = resetAt(t, now)
		}
		if l, ok := l.checked(now); ok && (!found || l.less(least)) {
			least, found = l, true
		}
	}
	return least, found
}

// less reports whether a smaller share of it is left than of other.
func (l RateLimit) less(other RateLimit) bool {
	return float64(l.Remaining)*float64(other.Limit) < float64(other.Remaining)*float64(l.Limit)
}

// checked bounds what was read. A limit without a reset ends with its window.
func (l RateLimit) checked(now time.Time) (RateLimit, bool) {
	if l.Limit <= 0 || l.Limit > mostRequests || l.Remaining < 0 {
		return RateLimit{}, false
	}
	l.Remaining = min(l.Remaining, l.Limit)
	l.Window = min(l.Window, longestWindow)
	if l.Reset.IsZero() && l.Window > 0 {
		l.Reset = now.Add(l.Window)
	}
	return l, true
}

// resetAt is the time of a reset, which some registries send as a Unix time.
func resetAt(seconds int64, now time.Time) time.Time {
	left := longestWindow
	switch {
	case seconds < 0:
		return time.Time{}
	case seconds >= firstEpoch:
		left = time.Unix(min(seconds, now.Add(longestWindow).Unix()), 0).Sub(now)
	case seconds < int64(longestWindow/time.Second):
		left = time.Duration(seconds) * time.Second
	}
	return now.Add(min(max(left, 0), longestWindow))
}

// policy is a member of RateLimit-Policy.
type policy struct {
	quota  int64
	window time.Duration
}

// policies are those for requests, by name; until draft 07 the name is the quota.
func policies(h http.Header) map[string]policy {
	all := map[string]policy{}
	for _, m := range membersOf(h["Ratelimit-Policy"]) {
		if unit, ok := m.params.Get("qu"); ok && unit != "requests" {
			continue
		}
		quota, named := m.param("q")
		if !named {
			quota = m.n
		}
		all[m.name] = policy{quota: quota, window: m.seconds("w")}
	}
	return all
}

// member is a member of a list, with its parameters.
type member struct {
	name   string
	n      int64 // if it is a number
	ok     bool
	params *httpsfv.Params
}

func memberFrom(v httpsfv.Member) member {
	item, ok := v.(httpsfv.Item)
	if !ok {
		return member{params: httpsfv.NewParams()}
	}
	n, isNumber := item.Value.(int64)
	return member{name: fmt.Sprint(item.Value), n: n, ok: isNumber, params: item.Params}
}

// membersOf are the members of a structured list; none if it is malformed.
func membersOf(values []string) []member {
	list, err := httpsfv.UnmarshalList(values)
	if err != nil {
		return nil
	}
	members := make([]member, len(list))
	for i, v := range list {
		members[i] = memberFrom(v)
	}
	return members
}

func memberOf(d *httpsfv.Dictionary, key string) member {
	v, ok := d.Get(key)
	if !ok {
		return member{}
	}
	return memberFrom(v)
}

// firstOf is the first number in a field, which is that of the limit that is reached
// first.
func firstOf(h http.Header, field string) (member, bool) {
	if all := membersOf(h[field]); len(all) > 0 && all[0].ok {
		return all[0], true
	}
	n, err := strconv.ParseInt(strings.TrimSpace(h.Get(field)), 10, 64) // such as "0100", which no list may have
	return member{n: n, params: httpsfv.NewParams()}, err == nil
}

// param is a whole number.
func (m member) param(key string) (int64, bool) {
	v, _ := m.params.Get(key)
	n, ok := v.(int64)
	return n, ok
}

// seconds is a duration; 0 for none.
func (m member) seconds(key string) time.Duration {
	n, ok := m.param(key)
	if !ok || n < 0 {
		return 0
	}
	return time.Duration(min(n, int64(longestWindow/time.Second))) * time.Second
}
