package upstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// token is a token of a token endpoint (distribution's "Token Authentication
// Specification").
type token struct {
	value   string
	taken   time.Time
	expires time.Time
	proven  bool // issued to the configured credential
}

func (t token) login() login {
	return login{header: "Bearer " + t.value, taken: t.taken, proven: t.proven}
}

// Tokens live as long as their endpoint says, within bounds, and expire a bit
// earlier here.
const (
	defaultTokenLife = time.Minute
	maxTokenLife     = time.Hour
	tokenSlack       = 10 * time.Second
)

// token returns a token for pulling from the repository, other than the rejected
// one. Concurrent callers share one request to the endpoint, which a leaving caller
// does not cancel (contract R42).
func (l *authState) token(ctx context.Context, name string, ch challenge, rejected string) (token, error) {
	if t, ok := l.cached(name, rejected); ok {
		return t, nil
	}
	scope := pullScope(name, ch.params["scope"])
	key := strings.Join([]string{name, ch.params["realm"], ch.params["service"], scope}, "\n")
	done := l.flight.DoChan(key, func() (any, error) {
		// An earlier load may have stored a token.
		if t, ok := l.cached(name, rejected); ok {
			return t, nil
		}
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), l.client.limits.token, errSlow)
		defer cancel()
		t, err := l.fetch(ctx, ch.params["realm"], ch.params["service"], scope)
		if err != nil {
			return token{}, err
		}
		l.mu.Lock()
		l.tokens.Add(name, t)
		l.mu.Unlock()
		return t, nil
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return token{}, r.Err
		}
		return r.Val.(token), nil
	case <-ctx.Done():
		return token{}, l.client.failed(ctx, ctx.Err())
	}
}

// pullScope is the scope to request: the offered one, which may have another name
// of the repository, reduced to reading. A registry must not get a token for more,
// which may be valid at other registries.
func pullScope(name, offered string) string {
	if rest, ok := strings.CutPrefix(offered, "repository:"); ok && !strings.Contains(rest, " ") {
		if i := strings.LastIndexByte(rest, ':'); i > 0 {
			actions := slices.DeleteFunc(strings.Split(rest[i+1:], ","), func(a string) bool {
				return a != "pull" && a != "metadata_read" // the latter is Azure's scope for lists
			})
			if len(actions) > 0 {
				return "repository:" + rest[:i] + ":" + strings.Join(actions, ",")
			}
		}
	}
	return "repository:" + name + ":pull"
}

func (l *authState) cached(name, rejected string) (token, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.tokens.Get(name)
	return t, ok && t.value != rejected && time.Now().Before(t.expires)
}

// fetch requests a token. A 404 says nothing about the repository; a 401 or 403
// denies the pull.
func (l *authState) fetch(ctx context.Context, realm, service, scope string) (token, error) {
	c := l.client
	u, err := l.realm(realm)
	if err != nil {
		return token{}, err
	}
	resp, credential, away, err := l.askToken(ctx, u, service, scope)
	if err != nil {
		return token{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return token{}, c.verdict(ctx, resp, away, "")
	}
	if err := c.decode(resp, 0); err != nil {
		return token{}, err
	}
	body, err := c.readAll(ctx, resp, maxTokenReply, nil)
	if err != nil {
		return token{}, err
	}
	t, err := parseToken(body, time.Now())
	if err != nil {
		return token{}, c.outage(err, "has a token endpoint that answered without a token")
	}
	t.proven = (credential.header != "" || credential.found.Refresh) && !away && !isAnonymous(t.value)
	return t, nil
}

// askToken sends the request to a token endpoint, once more if it refuses a credential
// that can be replaced. It returns the credential that was sent.
func (l *authState) askToken(ctx context.Context, u *url.URL, service, scope string) (*http.Response, login, bool, error) {
	for again := false; ; again = true {
		credential, err := l.credential(ctx)
		if err != nil {
			return nil, login{}, false, err
		}
		resp, away, err := l.client.follow(ctx, l.client.tokenRequest(ctx, u, service, scope, credential))
		if err != nil || again || !l.replaces(resp, credential, away) {
			return resp, credential, away, err
		}
		discard(resp)
	}
}

// tokenRequest asks a token endpoint by GET or, with a refresh token, by POST
// (distribution's "OAuth2 Token Authentication").
func (c *Client) tokenRequest(ctx context.Context, u *url.URL, service, scope string, credential login) outRequest {
	out := outRequest{method: http.MethodGet, url: u, header: hopHeader(ctx, "application/json"), auth: credential.header, led: !c.names(u)}
	q := u.Query()
	if credential.found.Refresh {
		q = url.Values{"grant_type": {"refresh_token"}, "client_id": {"berth"}, "refresh_token": {credential.found.Secret}}
		out.method, out.form = http.MethodPost, q
	}
	if service != "" {
		q.Set("service", service)
	}
	q.Set("scope", scope)
	if out.form == nil {
		u.RawQuery = q.Encode()
	}
	return out
}

// isAnonymous reports whether a token is a JWT without a subject. Docker Hub issues such
// tokens to anonymous clients.
func isAnonymous(value string) bool {
	parts := strings.Split(value, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return false
	}
	var claims struct {
		Subject *string `json:"sub"`
	}
	return json.Unmarshal(payload, &claims) == nil && claims.Subject != nil && *claims.Subject == ""
}

// parseToken reads the response of a token endpoint.
func parseToken(body []byte, now time.Time) (token, error) {
	var reply struct {
		Token       string          `json:"token"`
		AccessToken string          `json:"access_token"` // OAuth 2's name of the same
		ExpiresIn   json.RawMessage `json:"expires_in"`   // seconds, in some replies as a string
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return token{}, err
	}
	value := reply.Token
	if value == "" {
		value = reply.AccessToken
	}
	if value == "" || len(value) > maxToken || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return token{}, errors.New("no token that fits a header")
	}
	life := defaultTokenLife
	if seconds, err := strconv.ParseFloat(strings.Trim(string(reply.ExpiresIn), `" `), 64); err == nil && seconds >= 1 {
		life = time.Duration(min(seconds, maxTokenLife.Seconds()) * float64(time.Second))
	}
	return token{value: value, taken: now, expires: now.Add(life - min(tokenSlack, life/5))}, nil
}
