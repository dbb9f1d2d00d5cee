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

// authState is what a client knows of how its upstream wants to be asked. It learns
// from the first 401, so that later requests need none.
type authState struct {
	client *Client
	ecr    *ecrLogin // nil unless the credential is one of AWS's API

	mu     sync.Mutex
	basic  bool       // the upstream takes the credential itself
	bearer *challenge // it takes tokens; without scope
	tokens *lru.Cache[string, token]
	flight singleflight.Group
}

func newAuthState(c *Client) *authState {
	tokens, err := lru.New[string, token](mostTokens)
	if err != nil {
		panic("upstream: " + err.Error()) // only a size below 1 is refused
	}
	return &authState{client: c, ecr: newECRLogin(c), tokens: tokens}
}

// known returns the Authorization by which the upstream is likely to answer at
// once for the repository; empty before the first 401.
func (l *authState) known(ctx context.Context, name string) (string, error) {
	l.mu.Lock()
	basic, bearer := l.basic, l.bearer
	l.mu.Unlock()
	switch {
	case basic:
		return l.credential(ctx)
	case bearer == nil:
		return "", nil
	}
	t, err := l.token(ctx, name, *bearer, "")
	if OutcomeOf(err) == Outage {
		l.mu.Lock()
		if l.bearer == bearer {
			l.bearer = nil // perhaps there is another one meanwhile: the next 401 says
		}
		l.mu.Unlock()
	}
	return bearerOf(t), err
}

// answer returns what to try instead of sent, after a 401 with the header h.
func (l *authState) answer(ctx context.Context, name, sent string, h http.Header) (string, error) {
	offered := parseChallenges(h.Values("Www-Authenticate"))
	if ch, ok := pick(offered, "bearer"); ok && ch.params["realm"] != "" {
		rejected, _ := strings.CutPrefix(sent, "Bearer ")
		if l.insufficient(name, rejected, ch) {
			return "", l.refusal()
		}
		t, err := l.token(ctx, name, ch, rejected)
		if err != nil {
			return "", err
		}
		l.mu.Lock()
		l.basic, l.bearer = false, withoutScope(ch)
		l.mu.Unlock()
		return bearerOf(t), nil
	}
	if _, ok := pick(offered, "basic"); !ok || l.client.config.anonymous() {
		if _, broken := pick(offered, "bearer"); broken && !ok {
			return "", l.client.outage(nil, "asks for a token, and does not name a token endpoint")
		}
		return "", l.refusal()
	}
	if l.ecr != nil {
		l.ecr.forget(sent)
	}
	auth, err := l.credential(ctx)
	if err != nil {
		return "", err
	}
	if auth == sent {
		return "", l.refusal()
	}
	l.mu.Lock()
	l.basic, l.bearer = true, nil
	l.mu.Unlock()
	return auth, nil
}

// credential is the Basic authorization of the upstream, or of a token endpoint
// that may get it; empty for an anonymous client.
func (l *authState) credential(ctx context.Context) (string, error) {
	cfg := l.client.config
	switch {
	case cfg.anonymous():
		return "", nil
	case l.ecr != nil:
		return l.ecr.authorization(ctx)
	default:
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(cfg.Username+":"+cfg.Password)), nil
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

func (l *authState) refusal() *Error {
	e := l.client.outage(nil, "")
	e.Status = http.StatusUnauthorized
	l.client.denied(e)
	return e
}

func bearerOf(token string) string {
	if token == "" {
		return ""
	}
	return "Bearer " + token
}

func withoutScope(ch challenge) *challenge {
	return &challenge{scheme: ch.scheme, params: map[string]string{
		"realm": ch.params["realm"], "service": ch.params["service"],
	}}
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
	if !c.config.anonymous() && !sameOrigin(u, c.base) && !pinned(u, c.base) && !slices.ContainsFunc(c.config.AuthHosts, isHost(u)) {
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
