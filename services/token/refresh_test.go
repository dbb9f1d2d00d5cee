package token_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/internal/keyuse"
)

// oauth is an answer of the token endpoint to an OAuth 2 client.
type oauth struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
}

func (o *oauth) read(t *testing.T, a fronttest.Answer) int {
	t.Helper()
	*o = oauth{}
	if err := json.Unmarshal([]byte(a.Body), o); err != nil {
		t.Fatalf("%s: %v", a.Body, err)
	}
	return a.Status
}

func refreshForm(raw string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {raw}, "client_id": {"docker"}, "scope": {"repository:app:pull,push"}}
}

// TestU56_RefreshTokensGetTokens as OAuth 2 clients get and use them: the
// same again for logins of one client with one key, until it is ended.
func TestU56_RefreshTokensGetTokens(t *testing.T) {
	d := serve(t)
	acme, other := d.Tenant("acme", tenant.Settings{}), d.Tenant("other", tenant.Settings{})
	d.Account(acme, "ci", access.Writer)
	form := url.Values{
		"grant_type": {"password"}, "username": {"ci"}, "password": {fronttest.Secret("ci")}, "client_id": {"docker"}, "access_type": {"offline"},
	}
	var byPost, again, got oauth
	if status := byPost.read(t, d.Do(post(acme.Host, form))); status != 200 || byPost.RefreshToken == "" {
		t.Fatalf("%d %+v", status, byPost)
	}
	login := post(acme.Host, form)
	if again.read(t, d.Do(login)); again.RefreshToken != byPost.RefreshToken {
		t.Errorf("a second login of the client gets %q, not %q", again.RefreshToken, byPost.RefreshToken)
	}
	byGet := get(acme.Host, "account=ci&client_id=docker&offline_token=true")
	byGet.Basic = "ci"
	if got.read(t, d.Do(byGet)); got.AccessToken == "" || got.RefreshToken != "" {
		t.Errorf("docker login with a key gets %+v", got)
	}
	form.Set("client_id", "oras")
	if got.read(t, d.Do(post(acme.Host, form))); got.RefreshToken == "" || got.RefreshToken == byPost.RefreshToken {
		t.Errorf("another client gets %q", got.RefreshToken)
	}
	form.Del("access_type")
	if got.read(t, d.Do(post(acme.Host, form))); got.RefreshToken != "" {
		t.Error("a client that did not want one gets a refresh token")
	}
	refresh := byPost.RefreshToken
	for range 2 { // docker keeps the one of its login
		if status := got.read(t, d.Do(post(acme.Host, refreshForm(refresh)))); status != 200 || got.RefreshToken != refresh {
			t.Fatalf("%d %+v", status, got)
		}
		if opens := reach(d, acme.Host, "app", got.AccessToken); opens != "GET PUT" {
			t.Errorf("the token opens %q", opens)
		}
	}
	// It is good for nothing but this.
	for name, req := range map[string]fronttest.Request{
		"Basic":          {Host: acme.Host, Path: "/v2/", Header: basic("ci", refresh)},
		"Basic at token": {Host: acme.Host, Path: "/token", Header: basic("ci", refresh)},
		"Bearer":         {Host: acme.Host, Path: "/v2/", Bearer: refresh},
	} {
		if a := d.Do(req); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	wantInvalid := func(what, host, raw string) {
		t.Helper()
		a := d.Do(post(host, refreshForm(raw)))
		if status := got.read(t, a); status != 400 || got.Error != "invalid_grant" || got.Description == "" || a.Code() != "UNAUTHORIZED" {
			t.Errorf("%s: %d %s", what, status, a.Body)
		}
	}
	wantInvalid("of another tenant", other.Host, refresh)
	wantInvalid("cut", acme.Host, refresh[:len(refresh)-1])
	wantInvalid("changed", acme.Host, refresh[:len(refresh)-1]+"!")
	wantInvalid("a token", acme.Host, byPost.AccessToken)
	if err := d.Meta.RevokeTokens(t.Context(), fronttest.By(), acme.Tenant, access.ServiceKind, "ci"); err != nil {
		t.Fatal(err)
	}
	wantInvalid("revoked", acme.Host, refresh)
	if got.read(t, d.Do(login)); got.RefreshToken == "" || got.RefreshToken == refresh {
		t.Errorf("a login after that gets %q", got.RefreshToken)
	}
	renewed := got.RefreshToken
	if err := d.Meta.DeleteAccount(t.Context(), fronttest.By(), acme.Tenant, access.ServiceKind, "ci", 0); err != nil {
		t.Fatal(err)
	}
	wantInvalid("account deleted", acme.Host, renewed)
}

// aged are refresh tokens that were used last a while ago, and count what is noted.
type aged struct {
	meta.RefreshTokens
	ago   time.Duration
	noted int
}

func (a *aged) FindAccountByRefreshToken(ctx context.Context, t tenant.ID, hash [32]byte) (meta.Login, meta.RefreshToken, error) {
	l, r, err := a.RefreshTokens.FindAccountByRefreshToken(ctx, t, hash)
	r.LastUsedAt = r.LastUsedAt.Add(-a.ago)
	return l, r, err
}

func (a *aged) FindRefreshTokenOfKey(ctx context.Context, p access.Principal, client string) (meta.RefreshToken, error) {
	r, err := a.RefreshTokens.FindRefreshTokenOfKey(ctx, p, client)
	r.LastUsedAt = r.LastUsedAt.Add(-a.ago)
	return r, err
}

func (a *aged) UseRefreshToken(ctx context.Context, p access.Principal, name, address string, life time.Duration) error {
	a.noted++
	return a.RefreshTokens.UseRefreshToken(ctx, p, name, address, life)
}

// TestU56_TheLastUseIsNotedOnceAMinute, and it is a use of the token's key.
func TestU56_TheLastUseIsNotedOnceAMinute(t *testing.T) {
	d := fronttest.New(t)
	tokens := &aged{RefreshTokens: d.Meta}
	uses := keyuse.New(d.Meta, slog.New(slog.DiscardHandler))
	accounts := authenticator(d.Meta)
	d.Serve(front.Services{Token: handlerOf(d, accounts, tokens), Registry: http.HandlerFunc(guarded)})
	acme := d.Tenant("acme", tenant.Settings{})
	d.Account(acme, "ci", access.Writer)
	form := url.Values{
		"grant_type": {"password"}, "username": {"ci"}, "password": {fronttest.Secret("ci")}, "client_id": {"docker"}, "access_type": {"offline"},
	}
	var login, got oauth
	login.read(t, d.Do(post(acme.Host, form)))
	accounts.WithUses(uses) // from here on, with no login by the key itself
	refresh := func(ago time.Duration, want int) {
		t.Helper()
		tokens.ago, tokens.noted = ago, 0
		if status := got.read(t, d.Do(post(acme.Host, refreshForm(login.RefreshToken)))); status != 200 || tokens.noted != want {
			t.Errorf("used %v ago: %d, noted %d times, want %d", ago, status, tokens.noted, want)
		}
	}
	refresh(0, 0)
	refresh(time.Minute, 1)
	uses.Flush(t.Context())
	keys, err := d.Meta.ListAccountKeys(t.Context(), acme.Tenant, access.ServiceKind, "ci")
	if err != nil || len(keys) != 1 || keys[0].UsedAt.IsZero() {
		t.Errorf("the key: %+v, %v", keys, err)
	}
	for ago, want := range map[time.Duration]int{0: 0, time.Minute: 1} {
		tokens.ago, tokens.noted = ago, 0
		if got.read(t, d.Do(post(acme.Host, form))); got.RefreshToken != login.RefreshToken || tokens.noted != want {
			t.Errorf("a login %v after: noted %d times, want %d", ago, tokens.noted, want)
		}
	}
}

func basic(name, secret string) http.Header {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(name, secret)
	return r.Header
}

// TestU57_ErrorsInTheFormOfOAuth beside that of registries.
func TestU57_ErrorsInTheFormOfOAuth(t *testing.T) {
	d := serve(t)
	acme := d.Tenant("acme", tenant.Settings{})
	d.Account(acme, "ci", access.Writer)
	var got oauth
	for want, c := range map[string]struct {
		form   url.Values
		status int
	}{
		"unsupported_grant_type": {url.Values{"grant_type": {"client_credentials"}}, 400},
		"invalid_request":        {url.Values{"grant_type": {"refresh_token"}}, 400},
		"invalid_grant":          {url.Values{"grant_type": {"password"}, "username": {"ci"}, "password": {"wrong"}}, 401},
	} {
		a := d.Do(post(acme.Host, c.form))
		if status := got.read(t, a); status != c.status || got.Error != want || a.Code() == "" || a.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %s", want, status, a.Body)
		}
	}
}
