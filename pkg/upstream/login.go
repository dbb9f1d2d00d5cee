package upstream

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/credential"
)

// renewInterval is the minimum time between renewals of a login that worked before
// and is refused.
const renewInterval = time.Minute

// login is an Authorization header, and when it was issued; the zero value is no
// login.
type login struct {
	header string
	taken  time.Time             // zero for a credential as it is configured
	proven bool                  // a token that was issued to the configured credential
	found  credential.Credential // of a source; the header is empty for a refresh token
}

// bearer is the token of a Bearer login; empty for others.
func (l login) bearer() string {
	value, ok := strings.CutPrefix(l.header, "Bearer ")
	if !ok {
		return ""
	}
	return value
}

func (l *authState) anonymous() bool { return l.guest || l.client.config.anonymous() }

func (c Config) anonymous() bool { return c.Username == "" && c.Password == "" && c.Helper == nil }

// credential is the Basic authorization for the upstream, or for a token endpoint
// that may get it; none for an anonymous client.
func (l *authState) credential(ctx context.Context) (login, error) {
	cfg := l.client.config
	switch {
	case l.anonymous():
		return login{}, nil
	case l.source != nil:
		return l.obtain(ctx)
	default:
		return login{header: "Basic " + base64.StdEncoding.EncodeToString([]byte(cfg.Username+":"+cfg.Password))}, nil
	}
}

// mayRenew reports whether a refused login may be replaced by a new one, and counts it:
// there is one new login per renewInterval. Refused logins that were issued before it may
// also be replaced (contract row T4).
func (l *authState) mayRenew(sent login) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	switch {
	case sent.taken.IsZero():
		return false
	case sent.taken.Before(l.renewed):
		return true
	case now.Sub(l.renewed) < renewInterval:
		return false
	}
	l.renewed = now
	return true
}

// renew returns a new login after a 403 to one that worked before: some registries refuse
// expired tokens so.
func (l *authState) renew(ctx context.Context, name string, sent login) (login, bool, error) {
	if !l.mayRenew(sent) {
		return login{}, false, nil
	}
	l.mu.Lock()
	bearer := l.bearer
	l.mu.Unlock()
	if bearer != nil && sent.bearer() != "" {
		t, err := l.token(ctx, name, *bearer, sent.bearer())
		return t.login(), true, err
	}
	if l.source == nil {
		return login{}, false, nil
	}
	l.source.Forget(l.client.asRegistry(), sent.found)
	got, err := l.obtain(ctx)
	return got, err == nil && got != sent, err
}
