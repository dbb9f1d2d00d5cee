package upstream

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// mostTries bounds the requests of a question, besides those for tokens and /v2/.
const mostTries = 3

// headRefusedFor is how long an upstream that refused HEAD is asked by GET.
const headRefusedFor = time.Hour

// question is a request with its retries: with the credential or token that the
// upstream requires, with GET if it refuses HEAD, with a new login if it refuses
// one that worked.
type question struct {
	client *Client
	kind   string
	name   string
	auth   *authState // of the host of out
	out    outRequest
	login  login // that out carries

	guess       *challenge // of /v2/; it led to the error doubt, not to a login
	doubt       error
	tries       int
	loggedIn    bool // after a 401
	renewed     bool
	headRefused bool
}

// exchange sends the request with its retries. The response is a 200 without content
// encoding, or a 206 if a part was asked for. Its second result says whether the upstream
// gave it for the credential.
func (c *Client) exchange(ctx context.Context, rq request) (*http.Response, bool, error) {
	q, err := c.newQuestion(ctx, rq)
	if err != nil {
		return nil, false, err
	}
	for {
		resp, away, err := c.follow(ctx, q.out)
		if err != nil {
			return nil, false, err
		}
		if !away && !q.auth.guest {
			c.sawLimits(q.kind, q.out.method, resp.Header)
		}
		again, err := q.next(ctx, resp, away)
		switch {
		case again, err != nil:
			discard(resp)
			if err != nil {
				return nil, false, err
			}
			continue
		case resp.StatusCode == http.StatusPartialContent && rq.from > 0:
			return resp, q.authenticated(away), nil
		case resp.StatusCode != http.StatusOK:
			return nil, false, q.verdict(ctx, resp, away || q.auth.guest, rq.missing)
		}
		if err := c.decode(resp, rq.size); err != nil {
			return nil, false, err
		}
		return resp, q.authenticated(away), nil
	}
}

func (c *Client) newQuestion(ctx context.Context, rq request) (*question, error) {
	name := c.nameOf(rq.name)
	q := &question{client: c, name: name, kind: rq.kind(), auth: c.auth, out: outRequest{
		method: rq.method,
		url:    &url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: "/v2/" + name + "/" + rq.path, RawQuery: rq.query},
		header: rq.header(ctx),
		name:   name,
		paid:   true,
	}}
	if rq.optional {
		q.out.only = rq.path
	}
	if q.out.method == http.MethodHead && c.headRefused.left(q.kind, time.Now()) > 0 {
		q.out.method = http.MethodGet
	}
	var err error
	if q.login, q.guess, err = c.auth.known(ctx, name); err != nil {
		if q.guess == nil {
			return nil, err
		}
		q.doubt = err
	}
	q.out.auth = q.login.header
	return q, nil
}

// verdict is that of the client. A denial is proven if the upstream accepted the
// credential before: 401 to a token that it had issued to it, and not as one that is
// invalid (contract row T50).
func (q *question) verdict(ctx context.Context, resp *http.Response, away bool, missing fault.Reason) *Error {
	e := q.client.verdict(ctx, resp, away, missing)
	ch, _ := pick(parseChallenges(resp.Header.Values("Www-Authenticate")), "bearer")
	e.proven = q.login.proven && !away && e.Status == http.StatusUnauthorized && ch.params["error"] != "invalid_token"
	return e
}

// nameOf is the repository's name at the upstream: Docker Hub keeps its official
// images under "library/".
func (c *Client) nameOf(name string) string {
	if c.base.Host == hubHost && !strings.Contains(name, "/") {
		return "library/" + name
	}
	return name
}

// next decides whether to retry after a response, and changes the request for that.
func (q *question) next(ctx context.Context, resp *http.Response, away bool) (bool, error) {
	q.tries++
	q.out.paid = false
	status := resp.StatusCode
	if q.headRefused && status == http.StatusOK {
		q.client.headRefused.extend(q.kind, time.Now().Add(headRefusedFor))
	}
	if q.doubt != nil && (away || status != http.StatusUnauthorized || q.guess.sameRealm(resp.Header)) {
		return false, q.doubt // a response without the login does not count
	}
	q.doubt = nil
	if q.tries == mostTries {
		return false, nil
	}
	switch {
	case status == http.StatusUnauthorized && (away || !q.loggedIn): // the upstream's login does not count at another host
		if away && !q.moveTo(resp.Request.URL, resp.Header) {
			return false, nil
		}
		again, err := q.retryWith(q.auth.answer(ctx, q.name, q.login, resp.Header))
		if q.loggedIn = again; again || err != nil {
			return again, err
		}
	case status == http.StatusForbidden && !away && q.out.method == http.MethodGet && !q.renewed:
		q.renewed = true
		return q.retryWith(q.auth.renew(ctx, q.name, q.login))
	}
	if q.out.method == http.MethodHead && refusesHead(status) {
		q.out.method, q.headRefused = http.MethodGet, true
		return true, nil
	}
	return false, nil
}

// moveTo continues at the host that the registry redirected to, as a guest.
func (q *question) moveTo(u *url.URL, h http.Header) bool {
	c := q.client
	if ch, ok := pick(parseChallenges(h.Values("Www-Authenticate")), "bearer"); !ok || ch.params["realm"] == "" || sameOrigin(u, c.base) {
		return false
	}
	q.auth, q.login = c.guests.at(c, u), login{header: c.guests.token(u, q.name)}
	q.out.url, q.out.led, q.loggedIn = u, !c.names(u), false
	return true
}

func (q *question) retryWith(l login, ok bool, err error) (bool, error) {
	if err != nil || !ok {
		return false, err
	}
	q.login, q.out.auth = l, l.header
	q.headRefused = false // HEAD may have been refused for lack of the login
	return true, nil
}

// refusesHead reports whether a status may be for HEAD only: some firewalls and CDNs
// refuse HEAD but not GET (contract row T3).
func refusesHead(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden,
		http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
		return true
	default:
		return false
	}
}

// deadlines are times by kind of request.
type deadlines struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (d *deadlines) extend(kind string, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until == nil {
		d.until = map[string]time.Time{}
	}
	if until.After(d.until[kind]) {
		d.until[kind] = until
	}
}

// left is the time until the deadline; not positive if it has passed.
func (d *deadlines) left(kind string, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.until[kind].Sub(now)
}
