package upstream

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// addrOf is where a test's server listens.
func addrOf(t *testing.T, s *httptest.Server) netip.AddrPort {
	t.Helper()
	at, err := netip.ParseAddrPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// counting is an upstream that counts its callers.
func counting(t *testing.T) (*httptest.Server, *int) {
	t.Helper()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n++; sendImage(w, r) }))
	t.Cleanup(s.Close)
	return s, &n
}

// pull asks the upstream for a manifest as a tenant's.
func pull(t *testing.T, cs *Clients, cfg Config) error {
	t.Helper()
	c, err := cs.Client(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Manifest(t.Context(), "a/b", latest)
	return err
}

// TestS67_PortsAndTenantsOfNetworks: only the tenant and the port that are named
// are let in, also where another tenant's connection to that place is kept open.
func TestS67_PortsAndTenantsOfNetworks(t *testing.T) {
	acmes, n := counting(t)
	other, m := counting(t)
	network := netip.MustParsePrefix("127.0.0.0/8")
	cs := newClients(Options{Allow: []Network{
		{Tenant: "acme", Prefix: network, Ports: []uint16{addrOf(t, acmes).Port()}},
		{Prefix: network, Ports: []uint16{1, 2}},
	}}, patient())
	for range 2 {
		if err := pull(t, cs, Config{Key: "1", Tenant: "acme", Upstream: "up", Target: Target{URL: acmes.URL}}); err != nil {
			t.Fatal(err)
		}
		wantOutage(t, pull(t, cs, Config{Key: "2", Tenant: "evil", Upstream: "up", Target: Target{URL: acmes.URL}}))
		wantOutage(t, pull(t, cs, Config{Key: "3", Tenant: "acme", Upstream: "up", Target: Target{URL: other.URL}}))
	}
	if *n != 2 || *m != 0 {
		t.Errorf("%d and %d requests", *n, *m)
	}
	for _, c := range []struct {
		tenant, url string
		good        bool
	}{{"acme", acmes.URL, true}, {"evil", acmes.URL, false}, {"acme", other.URL, false}, {"evil", "http://127.0.0.1:2", true}, {"evil", "http://127.0.0.1", false}} {
		if err := cs.CheckAddress(t.Context(), c.tenant, "", c.url); (err == nil) != c.good || err != nil && fault.From(err).Field != "url" {
			t.Errorf("%s of %s: %v", c.url, c.tenant, err)
		}
	}
}

// TestS68_WhatBelongsToTheDeploymentIsRefused in a network that is allowed, at the
// moment of the connection and when it is configured.
func TestS68_WhatBelongsToTheDeploymentIsRefused(t *testing.T) {
	own, n := counting(t)
	server, m := counting(t)
	good, _ := counting(t)
	set := func(s *httptest.Server) AddressSet {
		at := addrOf(t, s)
		return func(asked netip.AddrPort) bool { return asked == at }
	}
	cs := newClients(Options{Allow: loopback, Own: set(own), Servers: set(server)}, patient())
	for _, s := range []*httptest.Server{own, server} {
		wantOutage(t, pull(t, cs, Config{Key: s.URL, Tenant: "acme", Upstream: "up", Target: Target{URL: s.URL}}))
		mapped := "http://[::ffff:127.0.0.1]:" + strconv.Itoa(int(addrOf(t, s).Port()))
		wantOutage(t, pull(t, cs, Config{Key: mapped, Tenant: "acme", Upstream: "up", Target: Target{URL: mapped}}))
		if err := cs.CheckAddress(t.Context(), "acme", "", s.URL); err == nil || !strings.Contains(fault.From(err).Message, "its address belongs to this deployment") {
			t.Errorf("it is taken as an upstream, or refused for another reason: %v", err)
		}
		// Where it would be refused anyway, the words are those for any address there.
		closed := newClients(Options{Own: set(own), Servers: set(server)}, patient())
		if err := closed.CheckAddress(t.Context(), "acme", "", s.URL); err == nil || strings.Contains(fault.From(err).Message, "deployment") {
			t.Errorf("it tells where the deployment is: %v", err)
		}
	}
	if err := pull(t, cs, Config{Key: "good", Tenant: "acme", Upstream: "up", Target: Target{URL: good.URL}}); err != nil {
		t.Error(err)
	}
	if *n+*m > 0 {
		t.Errorf("%d and %d requests", *n, *m)
	}
	public := guard{servers: func(netip.AddrPort) bool { return true }}
	if err := public.permits(netip.MustParseAddrPort("93.184.216.34:443"), false); err != nil {
		t.Errorf("a public store is refused to the upstreams that share it: %v", err)
	}
}

// TestS69_AnswersLeadToNoOtherPrivateHost: all of 127.0.0.0/8 is allowed, and an
// upstream in it leads elsewhere in it.
func TestS69_AnswersLeadToNoOtherPrivateHost(t *testing.T) {
	sink, connections := listen(t, "127.0.0.2:0")
	to := "http://" + sink.Addr().String()
	for name, h := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, to+"/admin/delete?all", http.StatusTemporaryRedirect)
		},
		"redirect after one": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				http.Redirect(w, r, r.URL.Path+"?again", http.StatusTemporaryRedirect)
				return
			}
			http.Redirect(w, r, to, http.StatusFound)
		},
		"realm": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+to+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"realm that redirects": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				http.Redirect(w, r, to, http.StatusTemporaryRedirect)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(h)
			defer s.Close()
			c := clientOf(t, newClients(Options{Allow: loopback}, patient()), Config{Target: Target{URL: s.URL}})
			_, err := c.Manifest(t.Context(), "a/b", latest)
			wantOutage(t, err)
			_, err = c.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil), -1)
			wantOutage(t, err)
		})
	}
	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "<"+to+`/v2/a/b/tags/list?last=a>; rel="next"`)
		_, _ = w.Write([]byte(`{"name":"a/b","tags":["a"]}`))
	}))
	defer list.Close()
	tags := clientOf(t, newClients(Options{Allow: loopback}, patient()), Config{Target: Target{URL: list.URL}})
	if _, err := allTags(t.Context(), tags, 10); err == nil {
		t.Error("a list continues at another host")
	}
	if connections.Load() != 0 {
		t.Errorf("%d connections", connections.Load())
	}
}

// TestS69_NamedHostsMayBeLedTo: a store or a token endpoint beside a private
// registry is one that its tenant names; other ports of its host need no word.
func TestS69_NamedHostsMayBeLedTo(t *testing.T) {
	store, n := counting(t)
	u, err := url.Parse(store.URL)
	if err != nil {
		t.Fatal(err)
	}
	other := "127.0.0.3:" + u.Port()
	l, connections := listen(t, other)
	for _, c := range []struct {
		to    string
		hosts []string
		tried bool
	}{
		{store.URL, nil, true}, // the same host, another port
		{"http://" + l.Addr().String(), nil, false},
		{"http://" + l.Addr().String(), []string{l.Addr().String()}, true},
	} {
		before := int64(*n) + connections.Load()
		s := httptest.NewServer(http.RedirectHandler(c.to+"/x", http.StatusTemporaryRedirect))
		_, err := clientOf(t, newClients(Options{Allow: loopback}, patient()), Config{Target: Target{URL: s.URL}, AuthHosts: c.hosts}).Manifest(t.Context(), "a/b", latest)
		s.Close()
		if got := int64(*n)+connections.Load() > before; got != c.tried {
			t.Errorf("%s with %v is tried: %v, %v", c.to, c.hosts, got, err)
		}
	}
}

// TestS69_PublicUpstreamsLeadToNoPrivateHost, although upstreams may be there.
func TestS69_PublicUpstreamsLeadToNoPrivateHost(t *testing.T) {
	sink, connections := listen(t, "127.0.0.1:0")
	w, cs := newWorld()
	cs.led = egress{guard: guard{allow: loopback}.public(), limits: patient()}.transport()
	w.hosts[origin] = http.RedirectHandler("https://"+sink.Addr().String()+"/x", http.StatusTemporaryRedirect).ServeHTTP
	_, err := clientOf(t, cs, Config{Target: Target{URL: origin}}).Manifest(t.Context(), "a/b", latest)
	wantOutage(t, err)
	w.hosts[origin] = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("WWW-Authenticate", `Bearer realm="https://`+sink.Addr().String()+`/token"`)
		rw.WriteHeader(http.StatusUnauthorized)
	}
	_, err = clientOf(t, cs, Config{Key: "2", Target: Target{URL: origin}}).Manifest(t.Context(), "a/b", latest)
	wantOutage(t, err)
	if connections.Load() != 0 {
		t.Errorf("%d connections", connections.Load())
	}
}
