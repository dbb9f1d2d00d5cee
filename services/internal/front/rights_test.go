package front_test

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// guarded is a service that needs of every request what its header says.
func guarded(w http.ResponseWriter, r *http.Request) {
	want := map[string]access.Actions{"pull": access.Pull, "push": access.Push, "delete": access.Delete}[r.Header.Get("Want")]
	if err := front.Needs(want)(front.CallOf(r.Context())); err != nil {
		front.WriteError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func TestContract_WhoMayDoWhat(t *testing.T) {
	d := fronttest.New(t)
	private := d.Tenant("acme", tenant.Settings{})
	public := d.Registry(private, "pub", tenant.Settings{AnonymousPull: true})
	open := d.Registry(private, "open", tenant.Settings{AnonymousPush: true})
	frozen := d.Registry(private, "ice", tenant.Settings{AnonymousPush: true, ReadOnly: true})
	reader := d.Account(private, "reader", access.Reader)
	writer := d.Account(private, "writer", access.Writer)
	d.Account(private, "admin", access.Admin)
	none := access.Principal{Name: "serviceAccounts/none", Tenant: private.Tenant}
	d.Serve(front.Services{Registry: http.HandlerFunc(guarded)})

	token := func(s tenant.Site, p access.Principal, a access.Actions) string {
		return d.Token(s, p, access.Repository("app", a))
	}
	const (
		ok           = "204"
		unauthorized = "401 UNAUTHORIZED"
		insufficient = "401 UNAUTHORIZED insufficient_scope"
		invalid      = "401 UNAUTHORIZED invalid_token"
		unknown      = "404 NAME_UNKNOWN"
		denied       = "403 DENIED"
	)
	for _, c := range []struct {
		name               string
		site               tenant.Site
		basic, bearer      string
		pull, push, delete string
	}{
		{"anonymous, private", private, "", "", unauthorized, unauthorized, unauthorized},
		{"anonymous, public", public, "", "", ok, unauthorized, unauthorized},
		{"anonymous, open", open, "", "", ok, ok, unauthorized},
		{"anonymous, read-only", frozen, "", "", ok, unauthorized, unauthorized},
		{"reader", private, "reader", "", ok, denied, denied},
		{"writer", private, "writer", "", ok, ok, denied},
		{"admin", private, "admin", "", ok, ok, ok},
		{"admin, read-only", frozen, "admin", "", ok, denied, denied},
		{"reader's token for all", private, "", token(private, reader, access.All), ok, denied, denied},
		{"reader's token for pull", private, "", token(private, reader, access.Pull), ok, insufficient, insufficient},
		{"writer's token for pull", private, "", token(private, writer, access.Pull), ok, insufficient, insufficient},
		{"writer's token for all", private, "", token(private, writer, access.All), ok, ok, denied},
		{"token for nothing", private, "", d.Token(private, writer), insufficient, insufficient, insufficient},
		{"token for another repository", private, "", d.Token(private, writer, access.Repository("app2", access.All)), insufficient, insufficient, insufficient},
		{"token of someone without rights", private, "", token(private, none, access.All), unknown, unknown, unknown},
		{"anonymous token, private", private, "", token(private, access.Principal{}, access.All), unauthorized, unauthorized, unauthorized},
		{"anonymous token, public", public, "", token(public, access.Principal{}, access.All), ok, unauthorized, unauthorized},
		{"anonymous token for pull, open", open, "", token(open, access.Principal{}, access.Pull), ok, insufficient, insufficient},
		{"token of a sister registry", private, "", token(open, writer, access.All), invalid, invalid, invalid},
		{"no token at all", private, "", "x.y.z", invalid, invalid, invalid},
		{"wrong secret", private, "nobody", "", unauthorized, unauthorized, unauthorized},
	} {
		for want, expected := range map[string]string{"pull": c.pull, "push": c.push, "delete": c.delete} {
			method := map[string]string{"pull": "GET", "push": "PUT", "delete": "DELETE"}[want]
			got := d.Do(fronttest.Request{
				Method: method, Host: c.site.Host, Path: "/v2/app/manifests/1", Basic: c.basic, Bearer: c.bearer,
				Header: http.Header{"Want": {want}},
			})
			if s := summary(got); s != expected {
				t.Errorf("%s: %s: %s, want %s", c.name, want, s, expected)
			}
			scope := map[string]string{"pull": "pull", "push": "pull,push", "delete": "pull,delete"}[want]
			challenge := `Bearer realm="http://` + c.site.Host + `/token",service="` + c.site.Host + `",scope="repository:app:` + scope + `"`
			if h := got.Header.Get("WWW-Authenticate"); got.Status == 401 && !strings.HasPrefix(h, challenge) || got.Status != 401 && h != "" {
				t.Errorf("%s: %s: challenge %q", c.name, want, h)
			}
		}
	}
}

// summary is status, error code and the challenge's error.
func summary(a fronttest.Answer) string {
	s := strings.TrimSpace(strconv.Itoa(a.Status) + " " + a.Code())
	if _, rest, ok := strings.Cut(a.Header.Get("WWW-Authenticate"), `error="`); ok {
		code, _, _ := strings.Cut(rest, `"`)
		s += " " + code
	}
	return s
}

// TestQ20_BaseChallengesWhoeverHasNoCredential: a client that has a credential
// sends it only where it is asked here (contract row Q20).
func TestQ20_BaseChallengesWhoeverHasNoCredential(t *testing.T) {
	d := fronttest.New(t)
	private := d.Tenant("acme", tenant.Settings{})
	d.Account(private, "ci", access.Reader)
	d.Group(private, "chain")
	sites := []tenant.Site{
		private,
		d.Registry(private, "public", tenant.Settings{AnonymousPull: true}),
		d.Registry(private, "open", tenant.Settings{AnonymousPush: true}),
		d.Registry(private, "chained", tenant.Settings{AnonymousPush: true, UpstreamGroup: "chain"}),
	}
	d.Serve(front.Services{})
	for _, s := range sites {
		basic := func(credential string) http.Header {
			return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(credential))}}
		}
		for _, c := range []struct {
			name string
			req  fronttest.Request
			want int
		}{
			{"anonymous", fronttest.Request{Path: "/v2/"}, 401},
			{"without the slash", fronttest.Request{Path: "/v2"}, 401},
			{"HEAD", fronttest.Request{Method: "HEAD", Path: "/v2/"}, 401},
			{"an empty credential", fronttest.Request{Path: "/v2/", Header: basic(":")}, 401},
			{"a secret without a name", fronttest.Request{Path: "/v2/", Header: basic(":" + fronttest.Secret("ci"))}, 401},
			{"a wrong secret", fronttest.Request{Path: "/v2/", Header: basic("ci:wrong")}, 401},
			{"anonymous token", fronttest.Request{Path: "/v2/", Bearer: d.Token(s, access.Principal{})}, 200},
			{"HEAD with a token", fronttest.Request{Method: "HEAD", Path: "/v2/", Bearer: d.Token(s, access.Principal{})}, 200},
			{"account", fronttest.Request{Path: "/v2/", Basic: "ci"}, 200},
			{"POST", fronttest.Request{Method: "POST", Path: "/v2/"}, 405},
		} {
			c.req.Host = s.Host
			got := d.Do(c.req)
			if got.Status != c.want || got.Header.Get("Docker-Distribution-API-Version") != "registry/2.0" {
				t.Errorf("%s at %s: %d %v, want %d", c.name, s.Host, got.Status, got.Header, c.want)
			}
			challenge := `Bearer realm="http://` + s.Host + `/token",service="` + s.Host + `"`
			if h := got.Header.Get("WWW-Authenticate"); got.Status == 401 && h != challenge {
				t.Errorf("%s at %s: %q, want %q", c.name, s.Host, h, challenge)
			}
		}
	}
	got := d.Do(fronttest.Request{Host: "ACME.localhost.:5000", Path: "/v2/"})
	if h := got.Header.Get("WWW-Authenticate"); h != `Bearer realm="http://ACME.localhost.:5000/token",service="acme.localhost"` {
		t.Errorf("the realm is where the client already is: %q", h)
	}
}

func TestB4_TokenOfAnotherTenant(t *testing.T) {
	d := fronttest.New(t)
	sites := []tenant.Site{d.Tenant("one", tenant.Settings{}), d.Tenant("two", tenant.Settings{}), d.Tenant("three", tenant.Settings{})}
	d.Serve(front.Services{Registry: http.HandlerFunc(guarded)})
	for _, of := range sites {
		token := d.Token(of, access.Principal{Name: "x", Tenant: of.Tenant, Role: access.Admin}, access.Repository("app", access.All))
		for _, at := range sites {
			for _, path := range []string{"/v2/", "/v2/app/manifests/1", "/v2/app/tags/list"} {
				got := d.Do(fronttest.Request{Host: at.Host, Path: path, Bearer: token, Header: http.Header{"Want": {"delete"}}})
				if (got.Status < 300) != (of == at) {
					t.Errorf("token of %s at %s%s: %d", of.Host, at.Host, path, got.Status)
				}
				if of != at && !strings.Contains(got.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
					t.Errorf("token of %s at %s%s: %v", of.Host, at.Host, path, got.Header)
				}
			}
		}
	}
}

func TestB5_TokensDieWithTheEpoch(t *testing.T) {
	d := fronttest.New(t)
	acme := d.Tenant("acme", tenant.Settings{})
	d.Serve(front.Services{Registry: http.HandlerFunc(guarded)})
	token := d.Token(acme, access.Principal{Name: "x", Tenant: acme.Tenant, Role: access.Reader}, access.Repository("app", access.Pull))
	ask := func() fronttest.Answer {
		return d.Do(fronttest.Request{Host: acme.Host, Path: "/v2/app/manifests/1", Bearer: token, Header: http.Header{"Want": {"pull"}}})
	}
	if got := ask(); got.Status != 204 {
		t.Fatal(got)
	}
	for _, state := range []tenant.State{tenant.Suspended, tenant.Active} {
		tn, err := d.Meta.FindTenant(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		tn.State = state
		if _, err := d.Meta.UpdateTenant(t.Context(), fronttest.By(), tn); err != nil {
			t.Fatal(err)
		}
	}
	d.Sites.Clear()
	if got := summary(ask()); got != "401 UNAUTHORIZED invalid_token" {
		t.Errorf("a token from before the suspension: %s", got)
	}
}

func TestAuthorizationHeaderForms(t *testing.T) {
	d := fronttest.New(t)
	acme := d.Tenant("acme", tenant.Settings{AnonymousPush: true})
	token := d.Token(acme, access.Principal{}, access.Repository("app", access.Pull))
	d.Serve(front.Services{Registry: http.HandlerFunc(guarded)})
	for _, c := range []struct {
		header []string
		want   string
	}{
		{nil, "204"},
		{[]string{"Bearer " + token}, "204"},
		{[]string{"bEARER " + token}, "204"},
		{[]string{"Bearer"}, "401 UNAUTHORIZED invalid_token"},
		{[]string{"Bearer " + token, "Bearer " + token}, "400 UNSUPPORTED"},
		{[]string{"Basic"}, "401 UNAUTHORIZED"},
		{[]string{"Basic !!!"}, "401 UNAUTHORIZED"},
		{[]string{"Basic Og=="}, "204"},                      // ":", which is not a credential (Q20)
		{[]string{"Basic OnNlY3JldA=="}, "401 UNAUTHORIZED"}, // ":secret"
		{[]string{"Basic bmFtZTo="}, "401 UNAUTHORIZED"},     // "name:"
		{[]string{"Digest x"}, "401 UNAUTHORIZED"},
		{[]string{""}, "401 UNAUTHORIZED"},
		{[]string{"Bearer " + strings.Repeat("a.", 100_000)}, "401 UNAUTHORIZED invalid_token"},
	} {
		got := d.Do(fronttest.Request{Host: acme.Host, Path: "/v2/app/manifests/1", Header: http.Header{"Want": {"pull"}, "Authorization": c.header}})
		if s := summary(got); s != c.want {
			t.Errorf("%.40q: %s, want %s", c.header, s, c.want)
		}
	}
}
