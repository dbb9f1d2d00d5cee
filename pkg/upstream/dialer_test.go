package upstream

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// listen starts something that counts who connects to it.
func listen(t *testing.T, address string) (net.Listener, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var connections atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			conn.Close()
		}
	}()
	return l, &connections
}

// unused is a port that nothing listens on.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// TestE1_NoConnectionIntoInternalNetworks: whatever spelling or name an upstream
// has, the sink gets no connection, and users see the same text for each address and port.
func TestE1_NoConnectionIntoInternalNetworks(t *testing.T) {
	sink, connections := listen(t, "0.0.0.0:0")
	_, port, _ := net.SplitHostPort(sink.Addr().String())
	other := unused(t)
	local := netip.MustParseAddr("127.0.0.1")
	r := resolver(t, &dnsServer{answer: func(n int) []netip.Addr {
		return [][]netip.Addr{
			{local},
			{netip.IPv6Loopback()},
			{netip.MustParseAddr("::ffff:127.0.0.1")},
			{netip.MustParseAddr("0.0.0.0")},
			{netip.MustParseAddr("169.254.169.254"), local},
		}[n%5]
	}})
	l := patient()
	l.dial = time.Minute
	cs := newClients(Options{Resolver: r}, l)
	hosts := []string{
		"127.0.0.1", "127.1.2.3", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]",
		"[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "10.0.0.1", "169.254.169.254", "100.100.100.200", "192.168.0.1", "[fd00:ec2::254]",
		"a.example.com", "b.example.com", "c.example.com", "d.example.com", "e.example.com", "127.0.0.1.nip.example",
	}
	hosts = append(hosts, oddAddresses(127, 0, 0, 1)...)
	texts, tried := map[string]int{}, 0
	for _, scheme := range []string{"http", "https"} {
		for _, host := range hosts {
			for _, port := range []string{port, other} {
				cfg := Config{Key: scheme + host + port, Upstream: "up", Target: Target{URL: scheme + "://" + host + ":" + port}}
				c, err := cs.Client(cfg)
				if err != nil {
					if fault.KindOf(err) != fault.Invalid {
						t.Errorf("%s: %v", cfg.URL, err)
					}
					continue
				}
				tried++
				start := time.Now()
				_, err = c.Manifest(t.Context(), "a/b", latest)
				if took := time.Since(start); took > l.dial/2 { // as only a connection attempt takes
					t.Errorf("%s took %v to refuse: the time tells what is there", cfg.URL, took)
				}
				e := wantOutage(t, err)
				if e.Refused || !strings.Contains(host, "example") { // a name may have no address this time
					texts[fmt.Sprint(e.Message, e.Fault().Kind, e.Fault().Detail, e.Status, e.RetryAfter, e.Timeout)]++
				}
			}
		}
	}
	if connections.Load() != 0 {
		t.Errorf("%d connections", connections.Load())
	}
	if len(texts) != 1 || tried < 80 {
		t.Errorf("%d URLs got %v", tried, texts)
	}
}

// TestE1_PortsLookAlike: of an address that may not be connected to, an open and a
// closed port are the same to users; so are, of one that may, a port that nothing
// listens on and one that does not speak TLS. Upstreams are no port scanner.
func TestE1_PortsLookAlike(t *testing.T) {
	open, _ := listen(t, "127.0.0.1:0")
	ports := []string{open.Addr().String(), "127.0.0.1:" + unused(t)}
	for _, allow := range [][]Network{nil, loopback} {
		cs, said := newClients(Options{Allow: allow}, patient()), [2]*Error{}
		for i, port := range ports {
			_, err := clientOf(t, cs, Config{Key: port, Target: Target{URL: "https://" + port}}).Manifest(t.Context(), "a/b", latest)
			said[i] = wantOutage(t, err)
		}
		a, b := said[0], said[1]
		if a.Message != b.Message || a.Fault().Kind != b.Fault().Kind || a.Timeout != b.Timeout || a.Refused != b.Refused {
			t.Errorf("%q and %q", a.Message, b.Message)
		}
		if a.Refused != (allow == nil) {
			t.Errorf("allowed %v, refused %t: %v", allow, a.Refused, a)
		}
	}
}

// TestE1_RedirectsAndRealmsAreGuarded: an upstream that may be connected to leads
// to addresses that may not.
func TestE1_RedirectsAndRealmsAreGuarded(t *testing.T) {
	sink, connections := listen(t, "127.0.0.2:0")
	allow := []Network{{Prefix: netip.MustParsePrefix("127.0.0.1/32")}}
	for name, h := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+sink.Addr().String()+"/x", http.StatusTemporaryRedirect)
		},
		"redirect to https": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+sink.Addr().String()+"/x", http.StatusTemporaryRedirect)
		},
		"realm": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+sink.Addr().String()+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"realm that redirects": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				http.Redirect(w, r, "http://"+sink.Addr().String()+"/x", http.StatusTemporaryRedirect)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(h)
			defer s.Close()
			c := clientOf(t, newClients(Options{Allow: allow}, patient()), Config{Target: Target{URL: s.URL}})
			_, err := c.Manifest(t.Context(), "a/b", latest)
			wantOutage(t, err)
			_, err = c.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil), -1)
			wantOutage(t, err)
		})
	}
	if connections.Load() != 0 {
		t.Errorf("%d connections", connections.Load())
	}
}

// TestE1_PasswordsOfECRAreAskedForThroughTheGuard: AWS's library connects with
// the same dialer.
func TestE1_PasswordsOfECRAreAskedForThroughTheGuard(t *testing.T) {
	sink, connections := listen(t, "127.0.0.1:0")
	cs := newClients(Options{}, patient())
	cs.ecrURL = "http://" + sink.Addr().String()
	c := clientOf(t, cs, Config{Target: Target{URL: "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com", Username: "AKIA", Password: "secret"}})
	_, err := c.auth.credential(t.Context())
	wantOutage(t, err)
	if connections.Load() != 0 {
		t.Errorf("%d connections", connections.Load())
	}
}

// TestE1_NoProxyFromTheEnvironment: a proxy would connect for us, wherever.
func TestE1_NoProxyFromTheEnvironment(t *testing.T) {
	proxy, connections := listen(t, "127.0.0.1:0")
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(v, "http://"+proxy.Addr().String())
	}
	c := clientOf(t, newClients(Options{Allow: loopback, Resolver: resolver(t, &dnsServer{answer: func(int) []netip.Addr { return nil }})}, patient()), Config{Target: Target{URL: "http://up.example.com"}})
	_, err := c.Manifest(t.Context(), "a/b", latest)
	wantOutage(t, err)
	if connections.Load() != 0 {
		t.Errorf("%d connections to the proxy", connections.Load())
	}
}

// TestE2_Rebinding: a name changes between an address that may be connected to
// and one that may not, within answers too. 127.0.0.2 stands for the public one.
func TestE2_Rebinding(t *testing.T) {
	private, connections := listen(t, "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(private.Addr().String())
	l, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // the next request looks the name up again
		sendImage(w, r)
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	inside, outside := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	d := &dnsServer{cname: "elsewhere.example.com.", answer: func(n int) []netip.Addr {
		return [][]netip.Addr{
			{outside},
			{inside},
			{inside, outside},
			{outside, inside},
			{netip.IPv6Loopback(), outside},
			{netip.MustParseAddr("::ffff:127.0.0.1"), inside},
			{netip.MustParseAddr("169.254.169.254")},
		}[n%7]
	}}
	limits := patient()
	limits.breakAfter = 1 << 30
	limits.burst = 1 << 20
	c := clientOf(t, newClients(Options{
		Allow: []Network{{Prefix: netip.MustParsePrefix("127.0.0.2/32")}}, Resolver: resolver(t, d),
	}, limits), Config{Target: Target{URL: "http://rebind.example.com:" + port}})
	found, outages := 0, 0
	for range dice.Count(t, 210, 1000) {
		if _, err := c.Manifest(t.Context(), "a/b", latest); err == nil {
			found++
		} else {
			wantOutage(t, err)
			outages++
		}
	}
	if connections.Load() != 0 {
		t.Errorf("%d private connections", connections.Load())
	}
	if found == 0 || outages == 0 {
		t.Errorf("found %d, outages %d: the name did not change", found, outages)
	}
}

// TestE15_CertificatesAreVerified: an unknown authority, another name.
func TestE15_CertificatesAreVerified(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(sendImage))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are the point
	s.StartTLS()
	defer s.Close()
	cs := newClients(Options{Allow: loopback}, patient())
	_, err := clientOf(t, cs, Config{Key: "1", Target: Target{URL: s.URL}}).Manifest(t.Context(), "a/b", latest)
	if e := wantOutage(t, err); !strings.Contains(e.Error(), "certificate") {
		t.Errorf("the log says %v", e)
	}
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	cs.transport = egress{guard: guard{allow: loopback}, limits: patient(), roots: always(roots), resolver: resolver(t, &dnsServer{answer: func(int) []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}})}.transport()
	if _, err := clientOf(t, cs, Config{Key: "2", Target: Target{URL: s.URL}}).Manifest(t.Context(), "a/b", latest); err != nil {
		t.Errorf("with the right authority: %v", err)
	}
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	_, err = clientOf(t, cs, Config{Key: "3", Target: Target{URL: "https://other.invalid:" + port}}).Manifest(t.Context(), "a/b", latest)
	wantOutage(t, err)
}
