package upstream

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

// mostTokens is how many tokens a client keeps; each is for one repository.
const mostTokens = 512

// freshDenial is the age up to which a token is not replaced when an upstream says
// that its scope does not suffice.
const freshDenial = 30 * time.Second

// How long the client does not ask /v2/ again: after it did not require the credential,
// and after no usable response came.
const (
	openInterval   = 5 * time.Minute
	failedInterval = 30 * time.Second
)

// authState is what a client knows about its upstream's authentication. With a
// credential it learns from /v2/ before the first request: some registries require
// a login only there, and say "not here" to anonymous clients (contract row T2).
// The challenge of a resource takes precedence; a client without a credential
// learns from it alone.
type authState struct {
	client *Client
	guest  bool        // for a host that the upstream redirected to, which never gets the credential
	source loginSource // nil if the credential is sent as it is configured

	mu      sync.Mutex
	basic   bool       // the upstream takes the credential itself
	bearer  *challenge // the upstream takes tokens; without scope
	guessed bool       // from /v2/, not confirmed by a resource
	open    time.Time  // until then /v2/ is not asked for a challenge
	renewed time.Time  // when a login was renewed last
	tokens  *lru.Cache[string, token]
	flight  singleflight.Group
}

func newAuthState(c *Client, most int) *authState {
	return &authState{client: c, source: newLoginSource(c), tokens: newLRU[string, token](most, nil)}
}

// known returns the login that the upstream is likely to accept for the repository.
// If the challenge of /v2/ led to an error, it returns that challenge, too: the
// resource may send another one.
func (l *authState) known(ctx context.Context, name string) (login, *challenge, error) {
	if err := l.learn(ctx); err != nil {
		return login{}, nil, err
	}
	l.mu.Lock()
	basic, bearer, guessed := l.basic, l.bearer, l.guessed
	l.mu.Unlock()
	switch {
	case basic:
		got, err := l.credential(ctx)
		return got, nil, err
	case bearer == nil:
		return login{}, nil, nil
	}
	t, err := l.token(ctx, name, *bearer, "")
	if OutcomeOf(err) == Outage {
		l.mu.Lock()
		if l.bearer == bearer {
			l.bearer = nil // the next 401 may have another one
		}
		l.mu.Unlock()
	}
	if err != nil && guessed {
		return login{}, bearer, err
	}
	return t.login(), nil, err
}

// learn asks /v2/ how the upstream takes the credential, unless that is known. A
// response without a challenge says nothing. Neither does a failure, such as a redirect
// that is not followed: the first 401 of a resource may teach it, and an absence
// without the login does not count while /v2/ fails (hidesAbsence).
func (l *authState) learn(ctx context.Context) error {
	l.mu.Lock()
	known := l.basic || l.bearer != nil || time.Now().Before(l.open)
	l.mu.Unlock()
	if known || l.anonymous() {
		return nil
	}
	g, err := l.client.greet(ctx, l.client.base)
	var e *Error
	if errors.As(err, &e) && (e.left || e.Refused) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.basic || l.bearer != nil:
		return nil
	case err != nil:
		l.open = time.Now().Add(failedInterval)
		return nil
	}
	bearer, takesTokens := pick(g.offers, "bearer")
	_, l.basic = pick(g.offers, "basic")
	switch {
	case takesTokens && bearer.params["realm"] != "":
		l.basic, l.bearer, l.guessed = false, withoutScope(bearer), true
	case !l.basic && g.lasts:
		l.open = time.Now().Add(openInterval)
	}
	return nil
}

// askAgain makes the next request ask /v2/ first: the upstream requires a login
// now.
func (l *authState) askAgain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = time.Time{}
}

// unused reports whether the upstream was asked, and required no credential.
func (l *authState) unused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.anonymous() && !l.basic && l.bearer == nil
}

// answer returns the login to try instead of sent, after a 401 with the header h. It
// returns false if another login would not help.
func (l *authState) answer(ctx context.Context, name string, sent login, h http.Header) (login, bool, error) {
	offered := parseChallenges(h.Values("Www-Authenticate"))
	if ch, ok := pick(offered, "bearer"); ok && ch.params["realm"] != "" {
		rejected := sent.bearer()
		if l.insufficient(name, rejected, ch) {
			return login{}, false, nil
		}
		t, err := l.token(ctx, name, ch, rejected)
		if err != nil {
			return login{}, false, err
		}
		l.mu.Lock()
		l.basic, l.bearer, l.guessed = false, withoutScope(ch), false
		l.mu.Unlock()
		return t.login(), true, nil
	}
	if _, ok := pick(offered, "basic"); !ok || l.anonymous() {
		if _, broken := pick(offered, "bearer"); broken && !ok {
			return login{}, false, l.client.outage(nil, "asks for a token, and does not name a token endpoint")
		}
		return login{}, false, nil
	}
	if l.source != nil && l.mayRenew(sent) {
		l.source.Forget(l.client.asRegistry(), sent.found)
	}
	got, err := l.credential(ctx)
	if err == nil && got.found.Refresh {
		err = l.client.outage(nil, "asks for a password, and its credential helper has a refresh token")
	}
	if err != nil || got == sent {
		return login{}, false, err
	}
	l.mu.Lock()
	l.basic, l.bearer = true, nil
	l.mu.Unlock()
	return got, true, nil
}

// insufficient reports that another token would not help: this one is new, and the
// upstream rejects only its scope.
func (l *authState) insufficient(name, rejected string, ch challenge) bool {
	if rejected == "" || ch.params["error"] != "insufficient_scope" {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.tokens.Get(name)
	return ok && t.value == rejected && time.Since(t.taken) < freshDenial
}

func withoutScope(ch challenge) *challenge {
	return &challenge{scheme: ch.scheme, params: map[string]string{
		"realm": ch.params["realm"], "service": ch.params["service"],
	}}
}

// sameRealm reports whether a response asks for tokens of the same endpoint.
func (ch *challenge) sameRealm(h http.Header) bool {
	other, ok := pick(parseChallenges(h.Values("Www-Authenticate")), "bearer")
	return ok && other.params["realm"] == ch.params["realm"] && other.params["service"] == ch.params["service"]
}
