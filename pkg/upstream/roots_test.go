package upstream

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/berth-registry/berth/tools/testserver"
)

// TestT73_AuthoritiesMayChange: the next connection trusts the new ones, to upstreams with
// and without settings of their own and to proxies, and connections made before stay.
func TestT73_AuthoritiesMayChange(t *testing.T) {
	site := serveSecure(t, sendImage, "up.example.com")
	other := serveSecure(t, sendImage, "other.example.com")
	proxy := serveSecure(t, sendImage, "127.0.0.1")
	p := testserver.StartScriptedProxy(t, proxy.TLS)
	var text atomic.Pointer[[]byte]
	trust := func(authorities []byte) { text.Store(&authorities) }
	trust(other.pem(t))
	cs := newClients(Options{
		Allow: loopback, Resolver: leadTo(t, "127.0.0.1"), Authorities: func() []byte { return *text.Load() },
		Proxies: []Proxy{{Name: "corp", URL: "https://" + p.Addr()}},
	}, patient())
	at := Target{URL: "https://up.example.com:" + site.port}
	own := at
	own.CA = string(other.pem(t))
	all := []Config{{Key: "1", Upstream: "up", Target: at}, {Key: "2", Upstream: "up", Target: own}, {Key: "3", Upstream: "up", Target: at, Proxy: "corp"}}
	for _, cfg := range all {
		wantOutage(t, pull(t, cs, cfg))
	}
	trust(slices.Concat(site.pem(t), proxy.pem(t)))
	for _, cfg := range all {
		if err := pull(t, cs, cfg); err != nil {
			t.Error(err)
		}
	}
	connections := len(site.names)
	trust(nil)
	for _, cfg := range all {
		if err := pull(t, cs, cfg); err != nil {
			t.Errorf("over a connection that is open: %v", err)
		}
	}
	if n := len(site.names); n != connections {
		t.Errorf("%d connections after %d", n, connections)
	}
	site.CloseClientConnections()
	for _, cfg := range all {
		wantOutage(t, pull(t, cs, cfg))
	}
}

// TestT73_HTTP2IsSpoken to upstreams that offer it, and 1.1 to others.
func TestT73_HTTP2IsSpoken(t *testing.T) {
	for want, offered := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		spoken := make(chan string, 1)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			spoken <- r.Proto
			sendImage(w, r)
		}))
		s.EnableHTTP2 = offered
		s.StartTLS()
		t.Cleanup(s.Close)
		authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		cs := newClients(Options{Allow: loopback, Authorities: always(authority)}, patient())
		if err := pull(t, cs, Config{Key: "1", Target: Target{URL: s.URL}}); err != nil {
			t.Fatal(err)
		}
		if got := <-spoken; got != want {
			t.Errorf("%s is spoken, want %s", got, want)
		}
		cs.transport.(byScheme).CloseIdleConnections()
	}
}
