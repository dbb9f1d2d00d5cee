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

// mostTokens is how many a client keeps; each is for one repository.
const mostTokens = 512

// freshDenial is how young a token is that is not replaced when an upstream says
// that its scope does not suffice.
const freshDenial = 30 * time.Second

// renewInterval is how often a login is renewed that worked and is refused.
const renewInterval = time.Minute

// openInterval is for how long an upstream that did not ask for the credential at /v2/ is
// not asked there again.
const openInterval = 5 * time.Minute

// authState is what a client knows of how its upstream wants to be asked. With a
// credential it learns from /v2/ before the first question: some registries ask for
// a login there alone, and say "not here" to all who have none (contract row T2).
// The challenge of a resource outranks it, and is all that a client without
// credential learns from.
type authState struct {
	client *Client
	guest  bool      // it is of a host that the upstream led to, which never gets the credential
	ecr    *ecrLogin // nil unless the credential is one of AWS's API

	mu      sync.Mutex
	basic   bool       // the upstream takes the credential itself
	bearer  *challenge // it takes tokens; without scope
	guessed bool       // /v2/ said so, and no resource yet
	open    time.Time  // until then it counts as one that asks for no login
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

// login is an Authorization, and when it was issued; the zero value is none.
type login struct {
	header string
	taken  time.Time // zero for a credential as it is configured
}

// known returns the login by which the upstream is likely to answer at once for the
// repository. If that fails by the challenge of /v2/, it returns that one, too:
// the resource may want another.
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
			l.bearer = nil // perhaps there is another one meanwhile: the next 401 says
		}
		l.mu.Unlock()
	}
	if err != nil && guessed {
		return login{}, bearer, err
	}
	return t.login(), nil, err
}

// learn asks /v2/ where nothing is known of how the upstream wants the credential. An
// answer that is no challenge says nothing.
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

// askAgain has the next question ask /v2/: it wants a login now.
func (l *authState) askAgain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = time.Time{}
}

// unused says whether the upstream was asked, and wanted no credential.
func (l *authState) unused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.anonymous() && !l.basic && l.bearer == nil
}

// answer returns what to try instead of sent, after a 401 with the header h; false
// where there is nothing.
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

// renew returns a new login after a 403 to one that worked before: some registries say
// so of a token that has ended. There is one new login in a while. Others that were issued
// before it may be replaced, too, when they are refused (contract row T4).
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

// credential is the Basic authorization of the upstream, or of a token endpoint
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

// insufficient says that another token would not help: this one is new, and the
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

// bearer is the token that the login is; empty for another.
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

// sameRealm says whether an answer asks for tokens of the same endpoint.
func (ch *challenge) sameRealm(h http.Header) bool {
	other, ok := pick(parseChallenges(h.Values("Www-Authenticate")), "bearer")
	return ok && other.params["realm"] == ch.params["realm"] && other.params["service"] == ch.params["service"]
}

// realm is the token endpoint, if the credential may go there: to the upstream itself, to a host that the tenant named, or to one that
// is known to belong to it (contract E4). A client with a credential asks no
// other host: what an anonymous token shows is not what the tenant is entitled to.
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

// isHost compares with what a tenant wrote; a port that is left out is the
// scheme's.
func isHost(u *url.URL) func(string) bool {
	return func(s string) bool {
		v, problem := parseURL(u.Scheme + "://" + s)
		return problem == "" && v.Host == u.Host && v.Path == ""
	}
}

// The registries whose tokens are issued elsewhere. Those of GitHub, Quay,
// Google, Microsoft, AWS public and Red Hat issue them at their own host;
// self-managed GitLab at a host that only its tenant knows.
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
