package upstream

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
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

// renewInterval is the minimum time between renewals of a login that worked before
// and is refused.
const renewInterval = time.Minute

// openInterval is how long the client does not ask /v2/ again after it did not require
// the credential.
const openInterval = 5 * time.Minute

// authState is what a client knows about its upstream's authentication. With a
// credential it learns from /v2/ before the first request: some registries require
// a login only there, and say "not here" to anonymous clients (contract row T2).
// The challenge of a resource takes precedence; a client without a credential
// learns from it alone.
type authState struct {
	client *Client
	guest  bool      // for a host that the upstream redirected to, which never gets the credential
	ecr    *ecrLogin // nil unless the credential is one of AWS's API

	mu      sync.Mutex
	basic   bool       // the upstream takes the credential itself
	bearer  *challenge // the upstream takes tokens; without scope
	guessed bool       // from /v2/, not confirmed by a resource
	open    time.Time  // until then the upstream counts as requiring no login
	renewed time.Time  // when a login was renewed last
	tokens  *lru.Cache[string, token]
	flight  singleflight.Group
}

func newAuthState(c *Client, most int) *authState {
	tokens, err := lru.New[string, token](most)
	if err != nil {
		panic("upstream: " + err.Error()) // only a size below 1 is refused
	}
	return &authState{client: c, ecr: newECRLogin(c), tokens: tokens}
}

// login is an Authorization header, and when it was issued; the zero value is no
// login.
type login struct {
	header string
	taken  time.Time // zero for a credential as it is configured
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
// response without a challenge says nothing.
func (l *authState) learn(ctx context.Context) error {
	l.mu.Lock()
	known := l.basic || l.bearer != nil || time.Now().Before(l.open)
	l.mu.Unlock()
	if known || l.anonymous() {
		return nil
	}
	g, err := l.client.greet(ctx, l.client.base)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.basic || l.bearer != nil {
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

// answer returns the login to try instead of sent, after a 401 with the header h;
// false if there is none.
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
	if l.ecr != nil {
		l.ecr.forget(sent)
	}
	got, err := l.credential(ctx)
	if err != nil || got == sent {
		return login{}, false, err
	}
	l.mu.Lock()
	l.basic, l.bearer = true, nil
	l.mu.Unlock()
	return got, true, nil
}

// renew returns a new login after a 403 to one that worked before: some registries refuse
// expired tokens so. It makes one new login per renewInterval. Refused logins that were
// issued before it may also be replaced (contract row T4).
func (l *authState) renew(ctx context.Context, name string, sent login) (login, bool, error) {
	l.mu.Lock()
	bearer, now := l.bearer, time.Now()
	outdated := sent.taken.Before(l.renewed)
	if sent.taken.IsZero() || !outdated && now.Sub(l.renewed) < renewInterval {
		l.mu.Unlock()
		return login{}, false, nil
	}
	if !outdated {
		l.renewed = now
	}
	l.mu.Unlock()
	if bearer != nil && sent.bearer() != "" {
		t, err := l.token(ctx, name, *bearer, sent.bearer())
		return t.login(), true, err
	}
	if l.ecr == nil {
		return login{}, false, nil
	}
	l.ecr.forget(sent)
	got, err := l.ecr.login(ctx)
	return got, true, err
}

func (l *authState) anonymous() bool { return l.guest || l.client.config.anonymous() }

// credential is the Basic authorization for the upstream, or for a token endpoint
// that may get it; none for an anonymous client.
func (l *authState) credential(ctx context.Context) (login, error) {
	cfg := l.client.config
	switch {
	case l.anonymous():
		return login{}, nil
	case l.ecr != nil:
		return l.ecr.login(ctx)
	default:
		return login{header: "Basic " + base64.StdEncoding.EncodeToString([]byte(cfg.Username+":"+cfg.Password))}, nil
	}
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

// bearer is the token of a Bearer login; empty for others.
func (l login) bearer() string {
	value, ok := strings.CutPrefix(l.header, "Bearer ")
	if !ok {
		return ""
	}
	return value
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

// realm is the token endpoint, if the credential may be sent there: the upstream itself, a host in
// auth_hosts, or a host known to belong to the upstream (contract E4). A client with a credential
// asks no other host: an anonymous token may show less than the tenant may read.
func (l *authState) realm(raw string) (*url.URL, error) {
	c := l.client
	u, problem := parseURL(raw)
	if problem == "" && c.base.Scheme == "https" && u.Scheme != "https" {
		problem = "is not https"
	}
	if problem != "" {
		return nil, c.outage(nil, "names a token endpoint that cannot be used: its URL %s", problem)
	}
	u.Fragment, u.RawFragment = "", ""
	if c.inside.Load() && !c.names(u) {
		return nil, c.outage(nil, "names a token endpoint on another host, from a network that is not public: if that is right, add this host to auth_hosts")
	}
	if !l.anonymous() && !sameOrigin(u, c.base) && !pinned(u, c.base) && !slices.ContainsFunc(c.config.AuthHosts, isHost(u)) {
		if _, err := netip.ParseAddr(u.Hostname()); err == nil {
			return nil, c.outage(nil, "wants its credential sent to an address that is not in auth_hosts")
		}
		return nil, c.outage(nil, "wants its credential sent to %q: if that is right, add this host to auth_hosts", u.Host)
	}
	return u, nil
}

// isHost compares with a configured host; without a port it has that of the scheme.
func isHost(u *url.URL) func(string) bool {
	return func(s string) bool {
		v, problem := parseURL(u.Scheme + "://" + s)
		return problem == "" && v.Host == u.Host && v.Path == ""
	}
}

// The registries that issue tokens at another host. Those of GitHub, Quay, Google,
// Microsoft, AWS public and Red Hat use their own host; self-managed GitLab uses
// one that only the tenant knows.
const (
	hubHost    = "registry-1.docker.io"
	hubAuth    = "auth.docker.io"
	gitlabHost = "registry.gitlab.com"
	gitlabAuth = "gitlab.com"
)

func pinned(realm, base *url.URL) bool {
	if realm.Scheme != "https" || base.Scheme != "https" {
		return false
	}
	return base.Host == hubHost && realm.Host == hubAuth || base.Host == gitlabHost && realm.Host == gitlabAuth
}
