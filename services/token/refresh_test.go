package token_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
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
