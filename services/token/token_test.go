package token_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/token"
)

// serve puts the token endpoint and a /v2/ that only asks for rights on a new
// deployment.
func serve(t testing.TB) *fronttest.Deployment {
	t.Helper()
	d := fronttest.New(t)
	d.Serve(front.Services{Token: handler(d), Registry: http.HandlerFunc(guarded)})
	return d
}

func handler(d *fronttest.Deployment) http.Handler {
	accounts := token.NewAuthenticator(d.Meta, cheap, limit.NewLocal(token.MaxFailures, token.FailurePeriod))
	return handlerOf(d, accounts, d.Meta)
}

func handlerOf(d *fronttest.Deployment, accounts *token.Authenticator, tokens meta.RefreshTokens) http.Handler {
	return token.NewHandler(token.New(accounts, tokens, d.Policies, d.Issuer), d.Middlewares()...)
}

// guarded is an operation that takes what its method says of the repository.
func guarded(w http.ResponseWriter, r *http.Request) {
	want := map[string]access.Actions{http.MethodGet: access.Pull, http.MethodPut: access.Push, http.MethodDelete: access.Delete}[r.Method]
	if err := front.Needs(want)(front.CallOf(r.Context())); err != nil {
		front.WriteError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func get(host, query string) fronttest.Request {
	return fronttest.Request{Host: host, Path: "/token?" + query}
}

func post(host string, form url.Values) fronttest.Request {
	return fronttest.Request{
		Method: http.MethodPost, Host: host, Path: "/token", Body: form.Encode(),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}
}

// issued reads the token out of an answer.
func issued(t *testing.T, a fronttest.Answer) string {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil || a.Status != http.StatusOK {
		t.Fatalf("%d %s, %v", a.Status, a.Body, err)
	}
	raw, _ := body["token"].(string)
	if raw == "" || body["access_token"] != raw || body["expires_in"] != float64(300) || len(body) != 5 {
		t.Errorf("response %s", a.Body)
	}
	at, err := time.Parse(time.RFC3339, body["issued_at"].(string))
	if err != nil || time.Since(at) > time.Minute {
		t.Errorf("issued_at %v, %v", body["issued_at"], err)
	}
	if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", a.Header)
	}
	return raw
}

// reach says which of pull, push and delete on the repository the token opens.
func reach(d *fronttest.Deployment, host, repository, bearer string) string {
	var can []string
	for _, m := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		if d.Do(fronttest.Request{Method: m, Host: host, Path: "/v2/" + repository + "/manifests/1", Bearer: bearer}).Status == http.StatusNoContent {
			can = append(can, m)
		}
	}
	return strings.Join(can, " ")
}

func TestToken_GrantsWhatTheAccountMay(t *testing.T) {
	d := serve(t)
	private, public := d.Tenant("acme", tenant.Settings{}), d.Tenant("open", tenant.Settings{AnonymousPull: true})
	for slug, role := range map[string]access.Role{"reader": access.Reader, "writer": access.Writer, "admin": access.Admin} {
		d.Account(private, slug, role)
	}
	all := "scope=repository:app:pull,push,delete"
	for _, c := range []struct{ name, host, basic, query, want string }{
		{"reader", private.Host, "reader", all, "GET"},
		{"writer", private.Host, "writer", all, "GET PUT"},
		{"admin", private.Host, "admin", all, "GET PUT DELETE"},
		{"admin that requests less", private.Host, "admin", "scope=repository:app:push", "PUT"},
		{"another repository", private.Host, "admin", "scope=repository:other:*", ""},
		{"no scope: docker login", private.Host, "admin", "account=admin&client_id=docker&offline_token=true&service=" + private.Host, ""},
		{"anonymous, private", private.Host, "", all, ""},
		{"anonymous, public", public.Host, "", all, "GET"},
		{"two scopes in one", private.Host, "writer", "scope=repository:x:pull+repository:app:pull", "GET"},
		{"two scopes in two", private.Host, "writer", "scope=repository:app:pull&scope=repository:app:push", "GET PUT"},
	} {
		req := get(c.host, c.query)
		req.Basic = c.basic
		if got := reach(d, c.host, "app", issued(t, d.Do(req))); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestToken_PasswordGrant(t *testing.T) {
	d := serve(t)
	acme := d.Tenant("acme", tenant.Settings{})
	d.Account(acme, "ci", access.Writer)
	form := url.Values{
		"grant_type": {"password"}, "username": {"ci"}, "password": {fronttest.Secret("ci")}, "client_id": {"docker"},
		"service": {acme.Host}, "scope": {"repository:app:pull,push repository:lib:pull"},
	}
	if got := reach(d, acme.Host, "app", issued(t, d.Do(post(acme.Host, form)))); got != "GET PUT" {
		t.Errorf("the token opens %q", got)
	}
}

// TestQ14_ManyRepositories asks as a client does that works on many repositories,
// keeps all scopes, and puts the newest last.
func TestQ14_ManyRepositories(t *testing.T) {
	d := serve(t)
	acme := d.Tenant("acme", tenant.Settings{})
	d.Account(acme, "ci", access.Writer)
	for _, n := range []int{51, 300, 700} {
		var scopes []string
		for i := range n {
			scopes = append(scopes, fmt.Sprintf("repository:mirror/team-%d/application-%d:pull,push", i%9, i))
		}
		query := get(acme.Host, url.Values{"service": {acme.Host}, "scope": scopes}.Encode())
		query.Basic = "ci"
		form := post(acme.Host, url.Values{
			"grant_type": {"password"}, "username": {"ci"}, "password": {fronttest.Secret("ci")}, "scope": {strings.Join(scopes, " ")},
		})
		for _, req := range []fronttest.Request{query, form} {
			a := d.Do(req)
			raw := issued(t, a)
			var told struct{ Scope string }
			if err := json.Unmarshal([]byte(a.Body), &told); err != nil {
				t.Fatal(err)
			}
			want := scopes[max(n-access.MaxScopes, 0):]
			if len(raw) > access.MaxToken || told.Scope != strings.Join(want, " ") {
				t.Errorf("%d scopes: a token of %d bytes for %.100q", n, len(raw), told.Scope)
			}
			for _, i := range []int{n - len(want), n - 1} {
				if got := reach(d, acme.Host, fmt.Sprintf("mirror/team-%d/application-%d", i%9, i), raw); got != "GET PUT" {
					t.Errorf("repository %d of %d: the token opens %q", i, n, got)
				}
			}
		}
	}
}

func TestToken_Refusals(t *testing.T) {
	d := serve(t)
	acme := d.Tenant("acme", tenant.Settings{AnonymousPull: true})
	d.Account(acme, "ci", access.Writer)
	secret := fronttest.Secret("ci")
	authorize := func(values ...string) fronttest.Request {
		req := get(acme.Host, "")
		req.Header = http.Header{"Authorization": values}
		return req
	}
	grant := func(name string) fronttest.Request {
		return post(acme.Host, url.Values{"grant_type": {name}, "refresh_token": {"x"}, "username": {"ci"}, "password": {secret}})
	}
	form := post(acme.Host, url.Values{"grant_type": {"password"}, "username": {"ci"}, "password": {secret}})
	asJSON, asNothing, tooLong, put, head := form, form, form, form, get(acme.Host, "")
	asJSON.Header = http.Header{"Content-Type": {"application/json"}}
	asNothing.Header = nil
	tooLong.Body += "&x=" + strings.Repeat("a", 64<<10)
	put.Method, head.Method = http.MethodPut, http.MethodHead
	for name, c := range map[string]struct {
		req    fronttest.Request
		status int
		code   string
	}{
		"unknown host":            {get("nobody.localhost", ""), 404, "NAME_UNKNOWN"},
		"another service":         {get(acme.Host, "service=other.localhost"), 400, "UNSUPPORTED"},
		"service with port":       {get(acme.Host, "service="+acme.Host+":5000"), 400, "UNSUPPORTED"},
		"long query":              {get(acme.Host, "scope="+strings.Repeat("repository:a:pull+", 4<<10)), 400, "UNSUPPORTED"},
		"bearer":                  {authorize("Bearer x"), 401, "UNAUTHORIZED"},
		"broken basic":            {authorize("Basic !"), 401, "UNAUTHORIZED"},
		"basic without colon":     {authorize("Basic Y2k="), 401, "UNAUTHORIZED"},
		"two authorizations":      {authorize("Basic Y2k6eA==", "Basic Y2k6eA=="), 401, "UNAUTHORIZED"},
		"empty authorization":     {authorize(""), 401, "UNAUTHORIZED"},
		"refresh token":           {grant("refresh_token"), 400, "UNAUTHORIZED"},
		"authorization code":      {grant("authorization_code"), 400, "UNSUPPORTED"},
		"no grant type":           {grant(""), 400, "UNSUPPORTED"},
		"JSON":                    {asJSON, 415, "UNSUPPORTED"},
		"no content type":         {asNothing, 415, "UNSUPPORTED"},
		"long form":               {tooLong, 400, "UNSUPPORTED"},
		"PUT":                     {put, 405, "UNSUPPORTED"},
		"HEAD":                    {head, 405, ""},
		"password without a user": {post(acme.Host, url.Values{"grant_type": {"password"}}), 401, "UNAUTHORIZED"},
		"secret without a name":   {post(acme.Host, url.Values{"grant_type": {"password"}, "password": {secret}}), 401, "UNAUTHORIZED"},
	} {
		got := d.Do(c.req)
		if got.Status != c.status || got.Code() != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, got.Status, got.Body, c.status, c.code)
		}
		if strings.Contains(got.Body, secret) {
			t.Errorf("%s: the answer repeats the secret", name)
		}
		if got.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: challenged by the endpoint that answers challenges", name)
		}
	}
}

// TestQ20_AnEmptyCredentialIsAnonymous: clients without a credential send an empty
// one, more often than an address may fail.
func TestQ20_AnEmptyCredentialIsAnonymous(t *testing.T) {
	d := serve(t)
	public := d.Tenant("acme", tenant.Settings{AnonymousPull: true})
	d.Account(public, "ci", access.Writer)
	for range 2 * token.MaxFailures {
		req := get(public.Host, "scope=repository:app:pull,push")
		req.Header = http.Header{"Authorization": {"Basic Og=="}}
		if got := reach(d, public.Host, "app", issued(t, d.Do(req))); got != "GET" {
			t.Fatalf("the token opens %q", got)
		}
	}
	login := get(public.Host, "")
	login.Basic = "ci"
	if got := d.Do(login); got.Status != http.StatusOK {
		t.Errorf("a login after that: %d %s", got.Status, got.Body)
	}
	nameless := get(public.Host, "")
	nameless.Header = http.Header{"Authorization": {"Basic OnNlY3JldC1vZi1jaQ=="}} // :secret-of-ci
	if got := d.Do(nameless); got.Status != http.StatusUnauthorized {
		t.Errorf("a secret without a name: %d %s", got.Status, got.Body)
	}
}

func TestKeys_VerifyWhatIsIssued(t *testing.T) {
	d := serve(t)
	public := d.Tenant("open", tenant.Settings{AnonymousPull: true})
	got := d.Do(fronttest.Request{Host: public.Host, Path: "/token/jwks"})
	var set access.JWKS
	if err := json.Unmarshal([]byte(got.Body), &set); err != nil || got.Status != 200 || len(set.Keys) != 1 {
		t.Fatalf("%d %s, %v", got.Status, got.Body, err)
	}
	x, err := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
	if err != nil {
		t.Fatal(err)
	}
	raw := issued(t, d.Do(get(public.Host, "scope=repository:a:pull")))
	parsed, err := jwt.Parse(raw, func(*jwt.Token) (any, error) { return ed25519.PublicKey(x), nil }, jwt.WithValidMethods([]string{"EdDSA"}))
	if err != nil || parsed.Header["kid"] != set.Keys[0].ID {
		t.Errorf("%v, %v", parsed, err)
	}
	if got := d.Do(fronttest.Request{Method: http.MethodPost, Host: public.Host, Path: "/token/jwks"}); got.Status != 405 || got.Header.Get("Allow") != "GET" {
		t.Errorf("POST: %d %v", got.Status, got.Header)
	}
}

func TestB4_TokensOfThreeTenants(t *testing.T) {
	d := serve(t)
	type holder struct{ host, kind, bearer string }
	var sites []tenant.Site
	var holders []holder
	for _, slug := range []string{"one", "two", "three"} {
		main := d.Tenant(slug, tenant.Settings{})
		sites = append(sites, main, d.Registry(main, "dev", tenant.Settings{}))
		for kind, role := range map[string]access.Role{"reader": access.Reader, "writer": access.Writer, "admin": access.Admin} {
			d.Account(main, kind, role)
		}
	}
	for _, s := range sites {
		for _, kind := range []string{"", "reader", "writer", "admin"} {
			req := get(s.Host, "scope=repository:app:*")
			req.Basic = kind
			holders = append(holders, holder{s.Host, kind, issued(t, d.Do(req))})
		}
	}
	may := map[string]string{"": "", "reader": "GET", "writer": "GET PUT", "admin": "GET PUT DELETE"}
	for _, h := range holders {
		for _, s := range sites {
			want := ""
			if s.Host == h.host {
				want = may[h.kind]
			}
			if got := reach(d, s.Host, "app", h.bearer); got != want {
				t.Errorf("%q token of %s at %s: %q, want %q", h.kind, h.host, s.Host, got, want)
			}
			base := d.Do(fronttest.Request{Host: s.Host, Path: "/v2/", Bearer: h.bearer})
			if (base.Status == http.StatusOK) != (s.Host == h.host) {
				t.Errorf("%q token of %s at /v2/ of %s: %d", h.kind, h.host, s.Host, base.Status)
			}
			asBasic := get(s.Host, "")
			asBasic.Header = http.Header{"Authorization": {"Bearer " + h.bearer}}
			if got := d.Do(asBasic); got.Status != http.StatusUnauthorized {
				t.Errorf("a token for a token at %s: %d", s.Host, got.Status)
			}
		}
	}
}

func TestB4_SecretOfAnotherTenant(t *testing.T) {
	d := serve(t)
	one, two := d.Tenant("one", tenant.Settings{}), d.Tenant("two", tenant.Settings{})
	d.Account(one, "ci", access.Admin)
	for _, c := range []struct {
		host   string
		status int
	}{{one.Host, 200}, {two.Host, 401}} {
		req := get(c.host, "")
		req.Basic = "ci"
		if got := d.Do(req); got.Status != c.status {
			t.Errorf("%s: %d, want %d", c.host, got.Status, c.status)
		}
	}
}

// The name of a deleted tenant is given to another one: nothing that was good
// for the first is good for the second.
func TestB5_NameGivenToAnotherTenant(t *testing.T) {
	soon := meta.DefaultLifetimes
	soon.Quarantine, soon.Undelete = time.Nanosecond, 0
	d := fronttest.NewWith(t, sqlitemeta.Options{Lifetimes: soon})
	d.Serve(front.Services{Token: handler(d), Registry: http.HandlerFunc(guarded)})
	first := d.Tenant("acme", tenant.Settings{AnonymousPull: true})
	d.Account(first, "ci", access.Admin)
	login := get(first.Host, "scope=repository:app:*")
	anonymous := login
	login.Basic = "ci"
	bearers := map[string]string{"account's token": issued(t, d.Do(login)), "anonymous token": issued(t, d.Do(anonymous))}
	if got := reach(d, first.Host, "app", bearers["account's token"]); got != "GET PUT DELETE" {
		t.Fatalf("before: %q", got)
	}
	old := map[string]fronttest.Request{
		"login": login, "password grant": post(first.Host, url.Values{"grant_type": {"password"}, "username": {"ci"}, "password": {fronttest.Secret("ci")}}),
		"Basic": {Host: first.Host, Path: "/v2/", Basic: "ci"},
	}
	for name, bearer := range bearers {
		old[name] = fronttest.Request{Host: first.Host, Path: "/v2/", Bearer: bearer}
		old[name+" for a manifest"] = fronttest.Request{Host: first.Host, Path: "/v2/app/manifests/1", Bearer: bearer}
	}

	if err := d.Meta.DeleteTenant(t.Context(), fronttest.By(), "acme", 0, true); err != nil {
		t.Fatal(err)
	}
	d.Sites.Clear()
	for name, req := range old {
		if got := d.Do(req); got.Status != http.StatusNotFound || got.Code() != "NAME_UNKNOWN" {
			t.Errorf("%s, tenant deleted: %d %s", name, got.Status, got.Body)
		}
	}
	for n := 1; n > 0; {
		var err error
		if n, err = d.Meta.PurgeDeleted(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	second := d.Tenant("acme", tenant.Settings{AnonymousPull: true})
	if second.Host != first.Host || second.Tenant == first.Tenant {
		t.Fatalf("the second tenant is %+v", second)
	}
	d.Account(second, "other", access.Admin)
	for name, req := range old {
		if got := d.Do(req); got.Status != http.StatusUnauthorized {
			t.Errorf("%s, name given away: %d %s", name, got.Status, got.Body)
		}
	}
}

func FuzzTokenRequest(f *testing.F) {
	d := fronttest.New(f)
	d.Tenant("acme", tenant.Settings{AnonymousPull: true})
	h := d.Handler(front.Services{Token: handler(d)})
	f.Add("scope=repository:app:pull&service=acme.localhost", "", "")
	f.Add("", "Basic Y2k6c2VjcmV0", "")
	f.Add("scope=%zz", "Bearer x", "grant_type=password&username=ci&password=x&scope=registry:catalog:*")
	f.Add("scope="+strings.Repeat("a:b:c+", 60), "basic", "grant_type=refresh_token")
	f.Fuzz(func(t *testing.T, query, authorization, form string) {
		r := httptest.NewRequest(http.MethodGet, "/token", strings.NewReader(form))
		r.Host, r.URL.RawQuery = "acme.localhost", query
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if form != "" {
			r.Method = http.MethodPost
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

// TestN7_TokenRefusalsCarryTheirReason as JSON, as all other refusals do.
func TestN7_TokenRefusalsCarryTheirReason(t *testing.T) {
	d := serve(t)
	s := d.Tenant("acme", tenant.Settings{})
	d.Account(s, "ci", access.Reader)
	wrong := get(s.Host, "service="+s.Host)
	wrong.Header = http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("ci:wrong"))}}
	for _, c := range []struct {
		req           fronttest.Request
		status        int
		code, message string
	}{
		{wrong, 401, "UNAUTHORIZED", "the name or the secret is wrong"},
		{get(s.Host, "service=elsewhere"), 400, "UNSUPPORTED", "service must be"},
		{post(s.Host, url.Values{"grant_type": {"client_credentials"}}), 400, "UNSUPPORTED", "grant_type must be password"},
	} {
		a := d.Do(c.req)
		var body struct {
			Errors []struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(a.Body), &body); err != nil || len(body.Errors) != 1 || a.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%d %q %v", a.Status, a.Body, err)
		}
		if e := body.Errors[0]; a.Status != c.status || e.Code != c.code || !strings.Contains(e.Message, c.message) {
			t.Errorf("%d %+v, want %d %s %q", a.Status, e, c.status, c.code, c.message)
		}
	}
}
