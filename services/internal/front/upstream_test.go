package front_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// aimed is a proxy service that says what it is asked for.
func aimed(w http.ResponseWriter, r *http.Request) {
	c := front.CallOf(r.Context())
	_, _ = fmt.Fprintf(w, "proxy: %s of %s as %s, asked for %s, after %d", c.Name, c.Upstream, c.Route.Name, c.RequestedName(), c.Hops)
}

// hosted is a service that says by which name it is asked.
func hosted(service string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := front.CallOf(r.Context())
		if c.Upstream != "" || c.Name != c.Route.Name || c.RequestedName() != c.Name {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = fmt.Fprintf(w, "%s: %s", service, c.Name)
	})
}

// ways is a front whose services say what they are asked for.
func ways() front.Services {
	return front.Services{Registry: hosted("registry"), Upload: hosted("upload"), Token: says("token"), Proxy: http.HandlerFunc(aimed)}
}

func TestWaysToAnUpstream(t *testing.T) {
	d := openDeployment(t)
	acme := d.Site("acme.localhost")
	d.Registry(acme, "dev", tenant.Settings{AnonymousPull: true})
	for host, registry := range map[string]string{"hub.example": tenant.MainRegistry, "dev.example": "dev"} {
		_, err := d.Meta.CreateDomain(t.Context(), fronttest.By(), meta.Domain{Tenant: acme.Tenant, Registry: registry, Host: host, Verified: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	d.Serve(ways())
	const (
		read   = "GET HEAD"
		write  = "POST PUT PATCH DELETE"
		all    = read + " " + write
		denied = "403 DENIED"
		bad    = "400 UNSUPPORTED"
		name   = "400 NAME_INVALID"
	)
	long := strings.Repeat("a", oci.MaxName)
	for _, c := range []struct {
		methods, path string
		want          string
		namespace     string // in the answer
	}{
		// By name.
		{read, "/v2/proxy/docker.io/library/alpine/manifests/1", "proxy: library/alpine of docker.io as proxy/docker.io/library/alpine, asked for proxy/docker.io/library/alpine, after 0", ""},
		{read, "/v2/proxy/hub/a/blobs/" + digest, "proxy: a of hub as proxy/hub/a, asked for proxy/hub/a, after 0", ""},
		{read, "/v2/proxy/hub/a/tags/list", "proxy: a of hub as proxy/hub/a, asked for proxy/hub/a, after 0", ""},
		{read, "/v2/proxy/hub/a/referrers/" + digest, "proxy: a of hub as proxy/hub/a, asked for proxy/hub/a, after 0", ""},
		{read, "/v2/proxy/proxy/proxy/tags/list", "proxy: proxy of proxy as proxy/proxy/proxy, asked for proxy/proxy/proxy, after 0", ""},
		{read, "/v2/proxy/acme.localhost/a/tags/list", "proxy: a of acme.localhost as proxy/acme.localhost/a, asked for proxy/acme.localhost/a, after 0", ""},
		{read, "/v2/proxy/hub/a/tags/list?ns=acme.localhost", "proxy: a of hub as proxy/hub/a, asked for proxy/hub/a, after 0", ""},
		{write, "/v2/proxy/hub/a/manifests/1", denied, ""},
		{write, "/v2/proxy/hub/a/blobs/" + digest, denied, ""},
		{write, "/v2/proxy/hub/a/tags/list", denied, ""},
		{all, "/v2/proxy/hub/a/blobs/uploads/", denied, ""},
		{all, strings.Replace(session, "app", "proxy/hub/a", 1), denied, ""},
		{read, "/v2/proxy/hub/tags/list", name, ""},
		{read, "/v2/proxy/hub/manifests/1", name, ""},
		{write, "/v2/proxy/hub/manifests/1", denied, ""},
		{all, "/v2/proxy/localhost:5000/a/manifests/1", name, ""},
		{all, "/v2/proxy/[::1]/a/manifests/1", name, ""},
		{all, "/v2/proxy/../a/manifests/1", name, ""},
		{all, "/v2/proxy/HUB/a/manifests/1", name, ""},
		{all, "/v2/proxy//a/manifests/1", name, ""},
		// These only look like it.
		{all, "/v2/proxy/manifests/1", "registry: proxy", ""},
		{all, "/v2/proxy/blobs/uploads/", "upload: proxy", ""},
		{all, "/v2/proxy-1/docker.io/a/manifests/1", "registry: proxy-1/docker.io/a", ""},
		{all, "/v2/my/proxy/docker.io/a/manifests/1", "registry: my/proxy/docker.io/a", ""},
		{all, "/v2/docker.io/a/manifests/1", "registry: docker.io/a", ""},

		// By namespace.
		{read, "/v2/library/alpine/manifests/1?ns=docker.io", "proxy: library/alpine of docker.io as proxy/docker.io/library/alpine, asked for library/alpine, after 0", "docker.io"},
		{read, "/v2/a/blobs/" + digest + "?ns=GHCR.io.", "proxy: a of ghcr.io as proxy/ghcr.io/a, asked for a, after 0", "ghcr.io"},
		{read, "/v2/a/tags/list?n=1&ns=localhost:5000", "proxy: a of localhost:5000 as proxy/localhost:5000/a, asked for a, after 0", "localhost:5000"},
		{read, "/v2/a/referrers/" + digest + "?ns=127.0.0.1%3A80", "proxy: a of 127.0.0.1:80 as proxy/127.0.0.1:80/a, asked for a, after 0", "127.0.0.1:80"},
		{read, "/v2/proxy/manifests/1?ns=docker.io", "proxy: proxy of docker.io as proxy/docker.io/proxy, asked for proxy, after 0", "docker.io"},
		{read, "/v2/proxy/a/manifests/1?ns=docker.io", "proxy: proxy/a of docker.io as proxy/docker.io/proxy/a, asked for proxy/a, after 0", "docker.io"},
		{read, "/v2/a/tags/list?ns=[::1]:5000", "proxy: a of [::1]:5000 as proxy/[::1]:5000/a, asked for a, after 0", "[::1]:5000"},
		{read, "/v2/a/tags/list?ns=[0:0::1]", "proxy: a of [::1] as proxy/[::1]/a, asked for a, after 0", "[::1]"},
		{write, "/v2/a/manifests/1?ns=docker.io", denied, ""},
		{all, "/v2/a/blobs/uploads/?ns=docker.io", denied, ""},
		{all, session + "?ns=docker.io", denied, ""},
		{read, "/v2/" + long + "/tags/list?ns=docker.io", name, ""},
		{read, "/v2/" + long[len("proxy/docker.io/"):] + "/tags/list?ns=docker.io", "proxy: " + long[16:] + " of docker.io as proxy/docker.io/" + long[16:] + ", asked for " + long[16:] + ", after 0", "docker.io"},
		// Other registries of this deployment are others.
		{read, "/v2/a/tags/list?ns=dev.acme.localhost", "proxy: a of dev.acme.localhost as proxy/dev.acme.localhost/a, asked for a, after 0", "dev.acme.localhost"},
		{read, "/v2/a/tags/list?ns=dev.example", "proxy: a of dev.example as proxy/dev.example/a, asked for a, after 0", "dev.example"},
		{read, "/v2/a/tags/list?ns=other.localhost", "proxy: a of other.localhost as proxy/other.localhost/a, asked for a, after 0", "other.localhost"},
		{write, "/v2/a/manifests/1?ns=dev.acme.localhost", denied, ""},
		// The registry itself is not, whatever it is called.
		{all, "/v2/a/manifests/1?ns=acme.localhost", "registry: a", ""},
		{all, "/v2/a/manifests/1?ns=ACME.localhost.:5000", "registry: a", ""},
		{all, "/v2/a/manifests/1?ns=hub.example:443", "registry: a", ""},
		{all, "/v2/a/blobs/uploads/?ns=acme.localhost", "upload: a", ""},
		{all, session + "?ns=hub.example", "upload: app", ""},
		// What is not a host.
		{all, "/v2/a/manifests/1?ns=", bad, ""},
		{all, "/v2/a/manifests/1?ns", bad, ""},
		{all, "/v2/a/manifests/1?ns=docker.io&ns=docker.io", bad, ""},
		{all, "/v2/a/manifests/1?ns=acme.localhost&ns=docker.io", bad, ""},
		{all, "/v2/a/manifests/1?ns=docker.io/library", bad, ""},
		{all, "/v2/a/manifests/1?ns=..%2f..", bad, ""},
		{all, "/v2/a/manifests/1?ns=::1", bad, ""},
		{all, "/v2/a/manifests/1?ns=[::1]5000", bad, ""},
		{all, "/v2/a/manifests/1?ns=" + strings.Repeat("a.", 200), bad, ""},
		{all, "/v2/a/blobs/uploads/?ns=a_b", bad, ""},
		// Where no repository is named it means nothing.
		{read, "/v2/?ns=docker.io", "401 UNAUTHORIZED", ""},
		{read, "/v2/_catalog?ns=docker.io&ns=", "registry: ", ""},
		{all, "/token?ns=docker.io", "token", ""},
	} {
		for method := range strings.FieldsSeq(c.methods) {
			got := d.Do(fronttest.Request{Method: method, Host: "acme.localhost", Path: c.path})
			said := strings.TrimSuffix(got.Body, "\n")
			if got.Status != http.StatusOK {
				said = summary(got)
			}
			want := c.want
			if method == http.MethodHead { // which has no body
				said, want = fmt.Sprint(got.Status), statusOf(want)
			}
			if said != want || got.Header.Get("OCI-Namespace") != c.namespace {
				t.Errorf("%s %.80s: %d %s, namespace %q; want %s, %q", method, c.path, got.Status, said, got.Header.Get("OCI-Namespace"), want, c.namespace)
			}
		}
	}
}

// The port tells servers of one host apart, where both are known.
func TestNamespaceOfAnotherPort(t *testing.T) {
	d := openDeployment(t)
	d.Serve(ways())
	for host, own := range map[string]map[string]bool{
		"acme.localhost":       {"acme.localhost": true, "acme.localhost:5000": true, "acme.localhost:5999": true, "other.localhost": false},
		"acme.localhost:5000":  {"acme.localhost": true, "acme.localhost:5000": true, "acme.localhost:5999": false, "other.localhost:5000": false},
		"Acme.localhost.:5000": {"acme.localhost": true, "ACME.localhost.:5000": true, "acme.localhost:50": false},
	} {
		for ns, want := range own {
			got := d.Do(fronttest.Request{Host: host, Path: "/v2/a/tags/list?ns=" + ns})
			if got.Status != http.StatusOK || (got.Body == "registry: a") != want {
				t.Errorf("%s at %s: %d %s, own: %v", ns, host, got.Status, got.Body, want)
			}
		}
	}
}

// statusOf is the status of what a table wants.
func statusOf(want string) string {
	if status, _, _ := strings.Cut(want, " "); len(status) == 3 {
		return status
	}
	return "200"
}

// The token that the challenge asks for is the one that will do, and the only
// one: rights on a hosted repository of the same name are others.
func TestContract_RightsOnWhatUpstreamsHave(t *testing.T) {
	d := fronttest.New(t)
	private := d.Tenant("acme", tenant.Settings{})
	public := d.Registry(private, "pub", tenant.Settings{AnonymousPull: true})
	reader := d.Account(private, "reader", access.Reader)
	none := access.Principal{Name: "serviceAccounts/none", Tenant: private.Tenant}
	wrong := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked of a hosted registry") })
	d.Serve(front.Services{Registry: wrong, Upload: wrong, Proxy: http.HandlerFunc(guarded)})
	for _, c := range []struct{ path, name string }{
		{"/v2/proxy/docker.io/library/alpine/manifests/1", "proxy/docker.io/library/alpine"},
		{"/v2/library/alpine/manifests/1?ns=docker.io", "proxy/docker.io/library/alpine"},
		{"/v2/app/blobs/" + digest + "?ns=LOCALHOST:5000", "proxy/localhost:5000/app"},
		{"/v2/a/b/tags/list?ns=xn--bcher-kva.example:443", "proxy/xn--bcher-kva.example:443/a/b"},
		{"/v2/a/b/tags/list?ns=[2001:DB8::1]:5000", "proxy/[2001:db8::1]:5000/a/b"},
		{"/v2/proxy/hub/a/b/tags/list?ns=docker.io", "proxy/hub/a/b"},
	} {
		do := func(s tenant.Site, basic, bearer string) fronttest.Answer {
			return d.Do(fronttest.Request{Host: s.Host, Path: c.path, Basic: basic, Bearer: bearer, Header: fronttest.Headers("Want", "pull")})
		}
		asked := scopeOf(t, do(private, "", ""))
		if want := "repository:" + c.name + ":pull"; asked != want {
			t.Errorf("%s: challenged for %q, want %q", c.path, asked, want)
		}
		scopes := access.ParseScopes([]string{asked})
		if len(scopes) != 1 {
			t.Fatalf("%s: no one can ask for %q: %v", c.path, asked, scopes)
		}
		plain := access.Repository(strings.SplitN(c.name, "/", 3)[2], access.All)
		for name, a := range map[string]struct {
			got  fronttest.Answer
			want string
		}{
			"anonymous":               {do(private, "", ""), "401 UNAUTHORIZED"},
			"anonymous, public":       {do(public, "", ""), "204"},
			"anonymous token":         {do(private, "", d.Token(private, access.Principal{}, scopes...)), "401 UNAUTHORIZED"},
			"anonymous token, public": {do(public, "", d.Token(public, access.Principal{}, scopes...)), "204"},
			"reader":                  {do(private, "reader", ""), "204"},
			"reader's token":          {do(private, "", d.Token(private, reader, scopes...)), "204"},
			"token for the name":      {do(private, "", d.Token(private, reader, plain)), "401 UNAUTHORIZED insufficient_scope"},
			"token of a sister":       {do(private, "", d.Token(public, reader, scopes...)), "401 UNAUTHORIZED invalid_token"},
			"no rights":               {do(private, "", d.Token(private, none, scopes...)), "404 NAME_UNKNOWN"},
			"not a token":             {do(private, "", "x.y.z"), "401 UNAUTHORIZED invalid_token"},
		} {
			if s := summary(a.got); s != a.want {
				t.Errorf("%s: %s: %s, want %s", c.path, name, s, a.want)
			}
			if a.got.Status == 401 && scopeOf(t, a.got) != asked {
				t.Errorf("%s: %s: challenged for %q", c.path, name, scopeOf(t, a.got))
			}
		}
	}
}

// scopeOf is the scope that a challenge asks for.
func scopeOf(t *testing.T, a fronttest.Answer) string {
	t.Helper()
	_, rest, ok := strings.Cut(a.Header.Get("WWW-Authenticate"), `scope="`)
	scope, _, _ := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("no challenge but %d %v", a.Status, a.Header)
	}
	return scope
}

// What cannot be pushed to cannot be pushed to by any client, and no client learns
// more of it by asking: not even whether it needs a credential.
func TestContract_PushesToUpstreamsAreTheSameForAll(t *testing.T) {
	h := serveHere(t, ways())
	writer := access.ServiceAccount(h.private.Tenant, 0, "ci", access.Writer)
	for _, path := range []string{"/v2/proxy/docker.io/app/manifests/1", "/v2/app/manifests/1?ns=docker.io", "/v2/proxy/docker.io/app/blobs/uploads/", session + "?ns=docker.io"} {
		var first fronttest.Answer
		for i, r := range []fronttest.Request{
			{},
			{Basic: "ci"},
			{Bearer: "x.y.z"},
			{Bearer: h.Token(h.private, writer, access.Repository("proxy/docker.io/app", access.All), access.Repository("app", access.All))},
		} {
			r.Method, r.Host, r.Path = http.MethodPut, h.private.Host, path
			got := h.Do(r)
			if i == 0 {
				first = got
			}
			h.Same(path, first, got)
			if got.Status != http.StatusForbidden || !strings.Contains(got.Body, "another registry") {
				t.Errorf("%s: %d %s", path, got.Status, got.Body)
			}
		}
	}
}

// A client that cannot be answered because the hosts cannot be looked up is
// told so: the namespace might be this registry.
func TestNamespaceThatCannotBeLookedUp(t *testing.T) {
	d := openDeployment(t)
	d.Serve(ways())
	get := func(path string) fronttest.Answer { return d.Do(fronttest.Request{Host: "acme.localhost", Path: path}) }
	get("/v2/") // the host is known now
	if err := d.Meta.Close(); err != nil {
		t.Fatal(err)
	}
	if got := get("/v2/app/tags/list?ns=acme.localhost:5000"); got.Body != "registry: app" {
		t.Errorf("its own name: %d %s", got.Status, got.Body)
	}
	if got := get("/v2/app/tags/list?ns=docker.io"); got.Status < 500 || got.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("another: %d %s", got.Status, got.Body)
	}
}

// TestE12_HopsEndAChain: what came through more than five registries asks
// no one else, and is answered as ever where no one else is asked.
func TestE12_HopsEndAChain(t *testing.T) {
	d := openDeployment(t)
	d.Serve(ways())
	for _, c := range []struct {
		header []string
		want   string
	}{
		{nil, "after 0"},
		{[]string{"0"}, "after 0"},
		{[]string{"1"}, "after 1"},
		{[]string{"5"}, "after 5"},
		{[]string{"6"}, "502 UNAVAILABLE"},
		{[]string{"1000000000000000000000"}, "502 UNAVAILABLE"},
		{[]string{"-1"}, "502 UNAVAILABLE"},
		{[]string{"five"}, "502 UNAVAILABLE"},
		{[]string{""}, "502 UNAVAILABLE"},
		{[]string{"1", "2"}, "502 UNAVAILABLE"},
	} {
		header := http.Header{}
		if c.header != nil {
			header[ocihttp.HeaderHops] = c.header
		}
		get := func(path string) fronttest.Answer {
			return d.Do(fronttest.Request{Host: "acme.localhost", Path: path, Header: header})
		}
		for _, path := range []string{"/v2/proxy/hub/a/manifests/1", "/v2/a/manifests/1?ns=docker.io"} {
			got := get(path)
			if !strings.HasSuffix(got.Body, c.want) && summary(got) != c.want {
				t.Errorf("%q %s: %d %s, want %s", c.header, path, got.Status, got.Body, c.want)
			}
		}
		for _, path := range []string{"/v2/a/manifests/1", "/v2/a/manifests/1?ns=acme.localhost", "/v2/_catalog", "/token"} {
			if got := get(path); got.Status != http.StatusOK {
				t.Errorf("%q %s: %d %s", c.header, path, got.Status, got.Body)
			}
		}
	}
}

// The proxy service is told the same, and answers the same, whether it runs in
// the process that took the request in or in another.
func TestRemoteProxyMakesNoDifference(t *testing.T) {
	tells := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Want") != "" {
			guarded(w, r)
			return
		}
		aimed(w, r)
	})
	other := listenInternal(t, deploymentKey, &journal{}, front.Services{Registry: says("wrong"), Upload: says("wrong"), Token: says("wrong"), Proxy: tells})
	far := serveHere(t, beforeProxy(remoteProxy(t, other.URL)))
	near := serveHere(t, beforeProxy(tells))
	reader := access.ServiceAccount(far.private.Tenant, 0, "ci", access.Writer)
	headers := map[string]http.Header{
		"plain":        {},
		"hops":         {ocihttp.HeaderHops: {"3"}},
		"hidden hops":  {ocihttp.HeaderHops: {"3"}, "Connection": {"close, " + ocihttp.HeaderHops}},
		"too far":      {ocihttp.HeaderHops: {"6"}},
		"needs rights": {"Want": {"pull"}},
	}
	bodies := map[string]bool{}
	for _, path := range []string{
		"/v2/proxy/hub/app/manifests/1", "/v2/app/manifests/1?ns=docker.io", "/v2/app/blobs/" + digest + "?ns=localhost%3A5000&a=b",
		"/v2/app/tags/list?n=3&ns=Docker.io", "/v2/proxy/hub/app/manifests/1?ns=docker.io", "/v2/app/manifests/1?ns=[::1]:5000", "/v2/app/tags/list", "/v2/app/manifests/1?ns=acme.localhost", "/v2/app/manifests/1?ns=docker.io&ns=", "/v2/proxy/hub/tags/list",
	} {
		for name, header := range headers {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
				for who, r := range map[string]func(hop) fronttest.Request{
					"anonymous": func(hop) fronttest.Request { return fronttest.Request{} },
					"account":   func(hop) fronttest.Request { return fronttest.Request{Basic: "ci"} },
					"token": func(h hop) fronttest.Request {
						return fronttest.Request{Bearer: h.Token(h.private, reader, access.Repository("proxy/docker.io/app", access.Pull))}
					},
				} {
					do := func(h hop) fronttest.Answer {
						req := r(h)
						req.Method, req.Host, req.Path, req.Header = method, h.private.Host, path, header.Clone()
						return h.Do(req)
					}
					a, b := do(far), do(near)
					far.Same(strings.Join([]string{name, method, path, who}, " "), a, b)
					bodies[a.Body] = true
				}
			}
		}
	}
	for _, want := range []string{
		"proxy: app of hub as proxy/hub/app, asked for proxy/hub/app, after 3",
		"proxy: app of docker.io as proxy/docker.io/app, asked for app, after 0",
		"proxy: app of localhost:5000 as proxy/localhost:5000/app, asked for app, after 3",
		"proxy: app of  as app, asked for app, after 3", // from the registry service
	} {
		if !bodies[want] {
			t.Errorf("no client was told %q", want)
		}
	}
}

// beforeProxy are services of which the registry has nothing to pull.
func beforeProxy(proxy http.Handler) front.Services {
	registry := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			hosted("registry").ServeHTTP(w, r)
			return
		}
		front.BeforeProxy(proxy).ServeHTTP(w, r)
	})
	return front.Services{Registry: registry, Upload: says("upload"), Token: says("token"), Proxy: proxy}
}

func remoteProxy(t *testing.T, at string) http.Handler {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	return front.Remote{Service: "proxy", URL: u, Calls: access.NewInternal(deploymentKey), Log: slog.New(slog.DiscardHandler)}.Handler()
}

func TestNextLinkIsForTheClientThatAsked(t *testing.T) {
	d := openDeployment(t)
	proxy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", front.CallOf(r.Context()).NextLink(url.Values{"last": {"1/2"}, "n": {"3"}}))
	})
	d.Serve(front.Services{Registry: proxy, Proxy: proxy})
	for path, want := range map[string]string{
		"/v2/a/tags/list":                            "</v2/a/tags/list?last=1%2F2&n=3>",
		"/v2/a/tags/list?ns=acme.localhost":          "</v2/a/tags/list?last=1%2F2&n=3>",
		"/v2/proxy/hub/a/tags/list":                  "</v2/proxy/hub/a/tags/list?last=1%2F2&n=3>",
		"/v2/a/tags/list?ns=docker.io":               "</v2/a/tags/list?last=1%2F2&n=3&ns=docker.io>",
		"/v2/proxy/hub/a/tags/list?ns=docker.io":     "</v2/proxy/hub/a/tags/list?last=1%2F2&n=3&ns=docker.io>",
		"/v2/a/referrers/" + digest + "?ns=Local:80": "</v2/a/referrers/" + digest + "?last=1%2F2&n=3&ns=local%3A80>",
	} {
		link := d.Do(fronttest.Request{Host: "acme.localhost", Path: path}).Header.Get("Link")
		if link != want+`; rel="next"` {
			t.Errorf("%s: %s, want %s", path, link, want)
		}
		next, _, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		if again := d.Do(fronttest.Request{Host: "acme.localhost", Path: next}); again.Header.Get("Link") != link {
			t.Errorf("%s leads to %s, which leads to %s", path, link, again.Header.Get("Link"))
		}
	}
}

// Whatever path and namespace are, the name that rights are about is that of
// the upstream's repository, and tokens can be asked for by it.
func FuzzWaysToAnUpstream(f *testing.F) {
	d := fronttest.New(f)
	d.Tenant("acme", tenant.Settings{AnonymousPull: true})
	var t *testing.T
	reached := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c := front.CallOf(r.Context())
		if named := strings.HasPrefix(c.RequestedName(), "proxy/") && strings.Count(c.RequestedName(), "/") > 1; named && c.Route.Name != c.RequestedName() {
			t.Errorf("%s: asked as %s", r.URL, c.Route.Name)
		}
		if c.Upstream == "" || c.Name == "" || c.Route.Name != "proxy/"+c.Upstream+"/"+c.Name || len(c.Route.Name) > oci.MaxName || oci.CheckName(c.Name) != nil {
			t.Errorf("%s: %q of %q as %q", r.URL, c.Name, c.Upstream, c.Route.Name)
		}
		scope := access.Repository(c.Route.Name, access.Pull)
		if scopes := access.ParseScopes([]string{scope.String()}); len(scopes) != 1 || scopes[0] != scope {
			t.Errorf("%s: the scope %q is read as %v", r.URL, scope, scopes)
		}
	})
	h := d.Handler(front.Services{Registry: hosted("registry"), Upload: hosted("upload"), Token: says("token"), Proxy: reached})
	f.Add("GET", "/v2/a/manifests/1", "ns=docker.io")
	f.Add("GET", "/v2/proxy/docker.io/a/b/tags/list", "ns=acme.localhost")
	f.Add("HEAD", "/v2/proxy/a/b/blobs/"+digest, "ns=x--y.localhost.:5000&ns")
	f.Add("PUT", "/v2/proxy/blobs/uploads/", "ns=[::1]")
	f.Add("GET", "/v2/a/manifests/1", "ns=[::ffff:1.2.3.4]:5000")
	f.Add("GET", "/v2/proxy/a/manifests/1", "ns=docker.io")
	f.Add("POST", "/v2/a/blobs/uploads/", "from=proxy%2fdocker.io%2fa&mount="+digest)
	f.Fuzz(func(now *testing.T, method, path, query string) {
		t = now
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		u, err := r.URL.Parse(path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return // net/http answers these
		}
		r.Method, r.URL, r.RequestURI, r.Host = method, u, path, "acme.localhost"
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 || w.Code == http.StatusTeapot {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
