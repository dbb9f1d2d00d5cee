package upstream

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/tools/testserver"
)

// secureSite is a server with a certificate of an authority, which records the names
// that clients said by SNI.
type secureSite struct {
	*httptest.Server
	authority *testserver.Authority
	port      string

	mu    sync.Mutex
	names []string
	seen  []*http.Request
}

// serveSecure starts it for the names.
func serveSecure(t *testing.T, h http.HandlerFunc, names ...string) *secureSite {
	t.Helper()
	s := &secureSite{authority: testserver.NewAuthority(t)}
	dir := t.TempDir()
	s.authority.Issue(t, dir, "site", names...)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "site.crt"), filepath.Join(dir, "site.key"))
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r)
		s.mu.Unlock()
		h(w, r)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // clients that hang up are the point
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.names = append(s.names, hello.ServerName)
		return nil, nil //nolint:nilnil // the configuration stays
	}, Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, s.port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return s
}

func (s *secureSite) pem(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(s.authority.File)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (s *secureSite) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.seen...)
}

// always is a setting that does not change.
func always[T any](v T) func() T { return func() T { return v } }

// leadTo is a resolver that leads every name to the addresses.
func leadTo(t *testing.T, addrs ...string) *net.Resolver {
	t.Helper()
	parsed := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		parsed[i] = netip.MustParseAddr(a)
	}
	return resolver(t, &dnsServer{answer: func(int) []netip.Addr { return parsed }})
}

// targets are what a proxy was asked to connect to.
func targets(p *testserver.ScriptedProxy) string {
	var all []string
	for _, r := range p.Requests() {
		all = append(all, r.Method+" "+r.Host)
	}
	return strings.Join(all, ", ")
}

// TestT30_ProxiesGetTheCheckedAddress, and the upstream its name; with resolve=proxy the
// proxy gets the name, and no name is resolved here.
func TestT30_ProxiesGetTheCheckedAddress(t *testing.T) {
	site := serveSecure(t, sendImage, "up.example.com")
	for query, want := range map[string]string{
		"":               "127.0.0.1:" + site.port,
		"?resolve=berth": "127.0.0.1:" + site.port,
		"?resolve=proxy": "up.example.com:" + site.port,
	} {
		p := testserver.StartScriptedProxy(t, nil)
		p.Hosts["up.example.com:"+site.port] = site.Listener.Addr().String()
		r := leadTo(t, "::1", "10.1.1.1", "127.0.0.1") // the first two are not allowed
		if strings.HasSuffix(query, "proxy") {
			r = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				t.Error("a name is resolved here")
				return nil, net.ErrClosed
			}}
		}
		cs := newClients(Options{Allow: loopback, Resolver: r, Authorities: always(site.pem(t)), Proxies: []Proxy{
			{Name: "corp", URL: "http://bob:hunter%3A2@" + p.Addr() + query}, {Name: "none"},
		}}, patient())
		c := clientOf(t, cs, Config{Target: Target{URL: "https://up.example.com:" + site.port}, Proxy: "corp"})
		if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
			t.Fatalf("%q: %v", query, err)
		}
		if got := targets(p); got != "CONNECT "+want {
			t.Errorf("%q: the proxy got %q, want %q", query, got, want)
		}
		got := p.Requests()[0].Header.Get("Proxy-Authorization")
		if got != "Basic "+base64.StdEncoding.EncodeToString([]byte("bob:hunter:2")) {
			t.Errorf("the proxy got the login %q", got)
		}
		if site.names[len(site.names)-1] != "up.example.com" {
			t.Errorf("SNI is %q", site.names)
		}
	}
	for _, r := range site.requests() {
		for name := range r.Header {
			if strings.HasPrefix(name, "Proxy-") || strings.HasPrefix(name, "X-Forwarded") {
				t.Errorf("the upstream got %s", name)
			}
		}
	}
}

// TestT30_PlainUpstreamsAndSecureProxies: upstreams without TLS are reached by CONNECT,
// too, and a proxy by TLS.
func TestT30_PlainUpstreamsAndSecureProxies(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(sendImage))
	defer s.Close()
	authority := testserver.NewAuthority(t)
	dir := t.TempDir()
	authority.Issue(t, dir, "proxy", "127.0.0.1")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "proxy.crt"), filepath.Join(dir, "proxy.key"))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	p := testserver.StartScriptedProxy(t, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
	cs := newClients(Options{Allow: loopback, Authorities: always(pem), Proxies: []Proxy{{Name: "corp", URL: "https://" + p.Addr()}}}, patient())
	c := clientOf(t, cs, Config{Target: Target{URL: s.URL}, Proxy: "corp"})
	if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
		t.Fatal(err)
	}
	if got, want := targets(p), "CONNECT "+s.Listener.Addr().String(); got != want {
		t.Errorf("the proxy got %q, want %q", got, want)
	}
	untrusted := newClients(Options{Allow: loopback, Proxies: []Proxy{{Name: "corp", URL: "https://" + p.Addr()}}}, patient())
	_, err = clientOf(t, untrusted, Config{Target: Target{URL: s.URL}, Proxy: "corp"}).Manifest(t.Context(), "a/b", latest)
	wantOutage(t, err)
}

// TestT30_TheEnvironmentAppliesToUpstreamsWithoutAProxy, but for hosts of NO_PROXY.
func TestT30_TheEnvironmentAppliesToUpstreamsWithoutAProxy(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(sendImage))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	p, other := testserver.StartScriptedProxy(t, nil), testserver.StartScriptedProxy(t, nil)
	cs := newClients(Options{
		Allow: loopback, Resolver: leadTo(t, "127.0.0.1"), Proxies: []Proxy{{Name: "corp", URL: "http://" + other.Addr()}, {Name: "none"}},
		Environment: httpproxy.Config{HTTPProxy: "http://" + p.Addr(), NoProxy: "direct.example.com"},
	}, patient())
	for i, c := range []struct {
		host, proxy string
		by, byOther int
	}{
		{"direct.example.com", "", 0, 0},
		{"up.example.com", "none", 0, 0},
		{"up.example.com", "", 1, 0},
		{"direct.example.com", "corp", 1, 1},
		{"up.example.com", "corp", 1, 2},
	} {
		key := fmt.Sprint(i)
		if err := pull(t, cs, Config{Key: key, Upstream: "up", Tenant: "acme", Target: Target{URL: "http://" + c.host + ":" + port}, Proxy: c.proxy}); err != nil {
			t.Fatal(err)
		}
		if a, b := len(p.Requests()), len(other.Requests()); a != c.by || b != c.byOther {
			t.Errorf("%v: %d and %d requests of proxies", c, a, b)
		}
	}
}

// TestT31_ProxiesAreToldNoForbiddenPlace: by URL, realm or redirect, whether the proxy
// resolves names or not.
func TestT31_ProxiesAreToldNoForbiddenPlace(t *testing.T) {
	private := leadTo(t, "10.0.0.1", "169.254.169.254")
	hosts := []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "localhost", "foo.localhost", "metadata", "metadata.google.internal"}
	hosts = append(hosts, oddAddresses(10, 0, 0, 1)...)
	for _, query := range []string{"", "?resolve=proxy"} {
		p := testserver.StartScriptedProxy(t, nil)
		cs := newClients(Options{
			Resolver: private, Deny: []string{"*.internal", "private.example.com"},
			Proxies: []Proxy{{Name: "corp", URL: "http://" + p.Addr() + query}},
		}, patient())
		places := append(hosts, "private.example.com")
		if query == "?resolve=proxy" {
			places = append(places, "93.184.216.34", "[2606:2800:220:1::1]")
		}
		for _, scheme := range []string{"http", "https"} {
			for _, host := range places {
				at := scheme + "://" + host
				if c, err := cs.Client(Config{Key: at, Upstream: "up", Tenant: "acme", Target: Target{URL: at}, Proxy: "corp"}); err == nil {
					_, err = c.Manifest(t.Context(), "a/b", latest)
					if e := wantOutage(t, err); !e.Refused {
						t.Errorf("%s is not refused: %v", at, err)
					}
					if err := cs.CheckAddress(t.Context(), "acme", "corp", at); fault.From(err).Field != "url" {
						t.Errorf("%s is not refused when it is configured: %v", at, err)
					}
				}
				for _, place := range []string{"realm", "redirect"} {
					u, _ := url.Parse(at)
					if u == nil {
						continue
					}
					led := egressLed(t, cs, place, at)
					wantOutage(t, led)
				}
			}
		}
		if got := p.Requests(); len(got) > 0 {
			t.Errorf("%q: the proxy got %s", query, targets(p))
		}
	}
}

// egressLed pulls from a public upstream that leads to the URL, with the way out for
// hosts that responses name.
func egressLed(t *testing.T, cs *Clients, place, to string) error {
	t.Helper()
	w := &world{hosts: map[string]http.HandlerFunc{origin: func(rw http.ResponseWriter, r *http.Request) {
		if place == "realm" {
			rw.Header().Set("WWW-Authenticate", `Bearer realm="`+to+`/token"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		rw.Header().Set("Location", to+r.URL.Path)
		rw.WriteHeader(http.StatusTemporaryRedirect)
	}}}
	c := clientOf(t, cs, Config{Key: place + to, Target: Target{URL: origin}, Proxy: "corp"})
	c.ways.named = w
	_, err := c.Manifest(t.Context(), "a/b", latest)
	return err
}

// TestT31_RedirectsGoThroughTheProxy, and are judged by the address of the upstream, not
// of the proxy.
func TestT31_RedirectsGoThroughTheProxy(t *testing.T) {
	store := serveSecure(t, sendImage, "store.example.com")
	site := serveSecure(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://store.example.com:"+store.port+r.URL.Path, http.StatusTemporaryRedirect)
	}, "up.example.com")
	p := testserver.StartScriptedProxy(t, nil)
	p.Hosts["up.example.com:"+site.port], p.Hosts["store.example.com:"+store.port] = site.Listener.Addr().String(), store.Listener.Addr().String()
	both := append(site.pem(t), store.pem(t)...)
	named := newClients(Options{Authorities: always(both), Proxies: []Proxy{{Name: "corp", URL: "http://" + p.Addr() + "?resolve=proxy"}}}, patient())
	c := clientOf(t, named, Config{Target: Target{URL: "https://up.example.com:" + site.port}, Proxy: "corp"})
	if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
		t.Error(err)
	}
	if got, want := targets(p), "CONNECT up.example.com:"+site.port+", CONNECT store.example.com:"+store.port; got != want {
		t.Errorf("the proxy got %q, want %q", got, want)
	}
	// The upstream is in a private network, and leads to another host.
	checked := newClients(Options{Allow: loopback, Resolver: leadTo(t, "127.0.0.1"), Authorities: always(both), Proxies: []Proxy{{Name: "corp", URL: "http://" + p.Addr()}}}, patient())
	before := len(p.Requests())
	_, err := clientOf(t, checked, Config{Target: Target{URL: "https://up.example.com:" + site.port}, Proxy: "corp"}).Manifest(t.Context(), "a/b", latest)
	if e := wantOutage(t, err); !strings.Contains(e.Message, "auth_hosts") || len(p.Requests()) != before+1 {
		t.Errorf("%v, the proxy got %s", err, targets(p))
	}
}

// TestT31_ECRIsAskedThroughTheProxy and its guard.
func TestT31_ECRIsAskedThroughTheProxy(t *testing.T) {
	p := testserver.StartScriptedProxy(t, nil)
	p.Play(testserver.ProxyRefuses)
	cs := newClients(Options{Proxies: []Proxy{{Name: "corp", URL: "http://" + p.Addr() + "?resolve=proxy"}}}, patient())
	c := clientOf(t, cs, Config{Target: Target{URL: "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com", Username: "AKIA", Password: "secret"}, Proxy: "corp"})
	_, err := c.auth.credential(t.Context())
	wantOutage(t, err)
	if got := targets(p); got != "CONNECT api.ecr.eu-west-1.amazonaws.com:443" {
		t.Errorf("the proxy got %q", got)
	}
}

// TestT32_FaultsOfProxiesAreOutages of the same words, which show neither the password of
// the proxy nor what it said.
func TestT32_FaultsOfProxiesAreOutages(t *testing.T) {
	site := serveSecure(t, sendImage, "up.example.com")
	words := map[string]bool{}
	for f := testserver.ProxyRefuses; f <= testserver.ProxyCuts; f++ {
		p := testserver.StartScriptedProxy(t, nil)
		p.Play(f)
		l := patient()
		l.dial = 500 * time.Millisecond
		cs := newClients(Options{
			Allow: loopback, Resolver: leadTo(t, "127.0.0.1"), Authorities: always(site.pem(t)),
			Proxies: []Proxy{{Name: "corp", URL: "http://bob:hunter2@" + p.Addr()}},
		}, l)
		c := clientOf(t, cs, Config{Target: Target{URL: "https://up.example.com:" + site.port, Username: "alice", Password: "secret"}, Proxy: "corp"})
		_, err := c.Manifest(t.Context(), "a/b", latest)
		e := wantOutage(t, err)
		if !e.broken || e.Fault().Kind != fault.BadUpstream || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("fault %d: %v", f, err)
		}
		words[e.Message] = true
		if got := c.Status().Health; got != Unreachable {
			t.Errorf("fault %d: the upstream is %s", f, got)
		}
	}
	if len(words) != 1 || len(site.requests()) > 0 {
		t.Errorf("%v, %d requests", words, len(site.requests()))
	}
}

// TestT32_OnlyProxiesOfTheTenantAreKnown, and its own takes precedence.
func TestT32_OnlyProxiesOfTheTenantAreKnown(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(sendImage))
	defer s.Close()
	general, acmes := testserver.StartScriptedProxy(t, nil), testserver.StartScriptedProxy(t, nil)
	cs := newClients(Options{Allow: loopback, Proxies: []Proxy{
		{Name: "corp", URL: "http://" + general.Addr()}, {Tenant: "acme", Name: "corp", URL: "http://" + acmes.Addr()}, {Tenant: "acme", Name: "own", URL: "http://" + acmes.Addr()},
	}}, patient())
	for i, c := range []struct {
		tenant, proxy  string
		general, acmes int
		refused        bool
	}{{"acme", "corp", 0, 1, false}, {"evil", "corp", 1, 1, false}, {"acme", "own", 1, 2, false}, {"evil", "own", 1, 2, true}, {"acme", "other", 1, 2, true}} {
		err := pull(t, cs, Config{Key: fmt.Sprint(i), Tenant: c.tenant, Upstream: "up", Target: Target{URL: s.URL}, Proxy: c.proxy})
		if c.refused {
			if e := wantOutage(t, err); !e.Refused || !strings.Contains(e.Message, "upstream_proxies") {
				t.Errorf("%v: %v", c, err)
			}
			if err := cs.CheckAddress(t.Context(), c.tenant, c.proxy, s.URL); fault.From(err).Field != "proxy" {
				t.Errorf("%v: %v", c, err)
			}
		} else if err != nil {
			t.Errorf("%v: %v", c, err)
		}
		if a, b := len(general.Requests()), len(acmes.Requests()); a != c.general || b != c.acmes {
			t.Errorf("%v: %d and %d requests of proxies", c, a, b)
		}
	}
}

// TestT30_WaysEndWithTheirClients: a replaced configuration leaves no transport.
func TestT30_WaysEndWithTheirClients(t *testing.T) {
	cs := newClients(Options{Proxies: []Proxy{{Name: "a"}, {Name: "b"}}}, patient())
	for _, cfg := range []Config{{Proxy: "a"}, {Proxy: "b"}, {Proxy: "b", Target: Target{Username: "x"}}, {}} {
		cfg.URL, cfg.Key = "https://ghcr.io", "1"
		clientOf(t, cs, cfg)
		want := 0
		if cfg.Proxy != "" {
			want = 2
		}
		if len(cs.ways) != want {
			t.Errorf("%d ways with %v", len(cs.ways), cfg.Proxy)
		}
	}
}
