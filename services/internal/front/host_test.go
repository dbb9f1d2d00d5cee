package front_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// reached is a service that says which tenant its request was for.
func reached(w http.ResponseWriter, r *http.Request) {
	c := front.CallOf(r.Context())
	_, _ = fmt.Fprintf(w, "tenant %s registry %s realm %s", c.Site.TenantSlug, c.Site.RegistrySlug, c.Realm())
}

func openDeployment(t *testing.T) *fronttest.Deployment {
	t.Helper()
	d := fronttest.New(t)
	d.Tenant("acme", tenant.Settings{AnonymousPull: true, AnonymousPush: true})
	d.Tenant("other", tenant.Settings{AnonymousPull: true, AnonymousPush: true})
	return d
}

func serveReached(d *fronttest.Deployment) {
	h := http.HandlerFunc(reached)
	d.Serve(front.Services{Registry: h, Upload: h, Token: h})
}

// raw sends bytes as they are and reads the answers.
func raw(t *testing.T, s *httptest.Server, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return resp
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestA1_HostVariants(t *testing.T) {
	d := openDeployment(t)
	serveReached(d)
	for _, host := range []string{
		"acme.localhost", "ACME.localhost", "acme.LocalHost.", "acme.localhost:5000", "acme.localhost.:80", "aCmE.lOcAlHoSt:1",
	} {
		if resp := raw(t, d.Server, "GET /v2/app/tags/list HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); resp.StatusCode != 200 || !strings.HasPrefix(body(t, resp), "tenant acme ") {
			t.Errorf("%q: %d", host, resp.StatusCode)
		}
	}
	unknown := d.Do(fronttest.Request{Host: "nobody.localhost", Path: "/v2/app/tags/list"})
	if unknown.Status != 404 || unknown.Code() != "NAME_UNKNOWN" || unknown.Header.Get("WWW-Authenticate") != "" {
		t.Fatalf("unknown host: %+v", unknown)
	}
	for _, host := range hostileHosts() {
		resp := raw(t, d.Server, "GET /v2/app/tags/list HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		got := fronttest.Answer{Status: resp.StatusCode, Header: resp.Header, Body: body(t, resp)}
		if resp.StatusCode == http.StatusBadRequest && resp.Header.Get("X-Request-Id") == "" {
			continue // net/http itself refuses what no host may contain
		}
		d.Same(fmt.Sprintf("host %q", host), got, unknown)
	}
}

func hostileHosts() []string {
	hosts := []string{
		"", ".", "..", "localhost", "localhost.", "evil.tld", "acme.localhost.evil.tld", "acme.localhost..", ".acme.localhost",
		"acme..localhost", "x.y.acme.localhost", "acme.localhost:", "acme.localhost:0", "acme.localhost:99999", "acme.localhost:80:80",
		"acme.localhost:abc", "acme.localhost:-1", "acme.localhost: 80", "acme_1.localhost", "acme.localhost_", "-acme.localhost",
		"acme-.localhost", "acme.local host", "acme%00.localhost", "acme.localhost%00", "acme.localhost\x00", "acme.localhost/", "acme.localhost\\",
		"acme.localhost@evil", "evil@acme.localhost", "acme.localhost?x", "acme.localhost#x", "xn--acme-.localhost", "аcme.localhost",
		"acme。localhost", "acme.localhost,other.localhost", "acme.localhost other.localhost", "127.0.0.1", "127.1", "0x7f000001", "2130706433",
		"0177.0.0.1", "[::1]", "[::1]:5000", "[::1", "::1", "[acme.localhost]", "acme.localhost]", "main.acme.localhost", "acme--main.localhost",
		"*.localhost", "acme.*", "acme.localhost;", "acme.localhost'", "acme.localhost\"", "a.acme.localhost", "ACME", "acme", "acme.", "acme.localdomain",
		"acme.localhost.localhost", "localhost.acme", "other.acme.localhost", "$(acme).localhost", "acme.localhost&other", "%61cme.localhost",
	}
	for n := 60; n < 70; n++ {
		hosts = append(hosts, strings.Repeat("a", n)+".localhost", "acme.localhost."+strings.Repeat("a.", 2*n)+"localhost")
	}
	for _, c := range "!$&()*+,;=~|^`{}<>[]'\"" {
		hosts = append(hosts, "acme"+string(c)+".localhost")
	}
	return hosts
}

func TestA2_ForwardedHeadersFromAnyone(t *testing.T) {
	forms := []http.Header{
		{"X-Forwarded-Host": {"evil.tld"}},
		{"X-Forwarded-Host": {"other.localhost"}},
		{"X-Forwarded-Proto": {"https"}},
		{"X-Forwarded-Scheme": {"https"}},
		{"X-Forwarded-Port": {"444"}},
		{"X-Forwarded-Server": {"evil.tld"}},
		{"Forwarded": {"host=evil.tld;proto=https"}},
		{"Forwarded": {`for=1.2.3.4;host="other.localhost"`}},
		{"X-Real-Ip": {"1.2.3.4"}},
		{"X-Original-Host": {"other.localhost"}},
		{"X-Host": {"other.localhost"}},
		{"X-Original-Url": {"/v2/other/tags/list"}},
		{"X-Rewrite-Url": {"/token"}},
		{"X-Http-Method-Override": {"DELETE"}},
	}
	t.Run("untrusted", func(t *testing.T) {
		d := openDeployment(t)
		serveReached(d)
		want := "tenant acme registry main realm http://acme.localhost:5000/token"
		for _, h := range forms {
			got := d.Do(fronttest.Request{Host: "acme.localhost:5000", Path: "/v2/app/tags/list", Header: h})
			if got.Body != want {
				t.Errorf("%v: %d %s", h, got.Status, got.Body)
			}
		}
	})
	t.Run("a trusted proxy may say the scheme", func(t *testing.T) {
		d := openDeployment(t)
		d.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		serveReached(d)
		got := d.Do(fronttest.Request{Host: "acme.localhost", Path: "/token", Header: http.Header{"X-Forwarded-Proto": {"https"}}})
		if got.Body != "tenant acme registry main realm https://acme.localhost/token" {
			t.Error(got.Body)
		}
	})
}

func TestA3_HopByHopHeadersDecideNothing(t *testing.T) {
	d := fronttest.New(t)
	acme := d.Tenant("acme", tenant.Settings{})
	serveReached(d)
	// A hop that drops what Connection names takes the credential away, never
	// the tenant: directly sent, the answer is that of the request without it.
	for _, extra := range []string{"", "Connection: host, x-forwarded-host, authorization\r\n", "Connection: X-Tenant\r\nX-Tenant: other\r\n"} {
		resp := raw(t, d.Server, "GET /v2/ HTTP/1.1\r\nHost: acme.localhost\r\n"+extra+"\r\n")
		if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 401 || !strings.Contains(got, `service="`+acme.Host+`"`) {
			t.Errorf("%q: %d %s", extra, resp.StatusCode, got)
		}
	}
}

func TestA4_TwoAuthorities(t *testing.T) {
	d := openDeployment(t)
	serveReached(d)
	for _, request := range []string{
		"GET http://acme.localhost/v2/app/tags/list HTTP/1.1\r\nHost: other.localhost\r\n\r\n",
		"GET http://acme.localhost/v2/app/tags/list HTTP/1.1\r\nHost: acme.localhost\r\n\r\n",
		"GET https://acme.localhost/v2/ HTTP/1.1\r\nHost: acme.localhost\r\n\r\n",
		"GET acme.localhost:80/v2/ HTTP/1.1\r\nHost: acme.localhost\r\n\r\n",
		"CONNECT acme.localhost:80 HTTP/1.1\r\nHost: acme.localhost\r\n\r\n",
		"GET /v2/ HTTP/1.1\r\nHost: acme.localhost\r\nHost: other.localhost\r\n\r\n",
		"GET /v2/ HTTP/1.1\r\n\r\n",
	} {
		if resp := raw(t, d.Server, request); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %d %s", request, resp.StatusCode, body(t, resp))
		}
	}
}

func TestA4_ServerNameOfAnotherTenant(t *testing.T) {
	d := openDeployment(t)
	d.Registry(d.Site("acme.localhost"), "dev", tenant.Settings{AnonymousPush: true})
	h := http.HandlerFunc(reached)
	s := httptest.NewUnstartedServer(d.Handler(front.Services{Registry: h, Upload: h, Token: h}))
	s.EnableHTTP2 = true
	certificate, roots := selfSigned(t)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.StartTLS()
	t.Cleanup(s.Close)

	for _, c := range []struct {
		sni, host string
		want      int
	}{
		{"acme.localhost", "acme.localhost", 200},
		{"acme.localhost", "ACME.localhost:5000", 200},
		{"dev.acme.localhost", "acme.localhost", 200}, // one tenant, another registry
		{"", "acme.localhost", 200},
		{"other.localhost", "acme.localhost", 421},
		{"nobody.localhost", "acme.localhost", 421},
		{"acme.localhost", "other.localhost", 421},
		{"acme.localhost", "nobody.localhost", 404},
	} {
		for _, proto := range []string{"h2", "http/1.1"} {
			client := &http.Client{Transport: &http.Transport{
				ForceAttemptHTTP2: proto == "h2",
				TLSClientConfig:   &tls.Config{ServerName: c.sni, NextProtos: []string{proto}, RootCAs: roots},
			}}
			r, err := http.NewRequest("GET", s.URL+"/v2/app/tags/list", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = c.host
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := body(t, resp); resp.StatusCode != c.want {
				t.Errorf("%s, name %q, host %q: %d %s", proto, c.sni, c.host, resp.StatusCode, got)
			}
			_ = resp.Body.Close()
			client.CloseIdleConnections()
		}
	}
}

// selfSigned is a certificate for the names of the test above and the pool that
// trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"acme.localhost", "dev.acme.localhost", "other.localhost", "nobody.localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, pool
}

func TestA4_HTTP2HostBesideAuthority(t *testing.T) {
	d := openDeployment(t)
	h := http.HandlerFunc(reached)
	handler := d.Handler(front.Services{Registry: h, Upload: h, Token: h})
	// net/http's server leaves a Host header that came beside :authority in the
	// header map; its client cannot send one.
	for other, want := range map[string]int{"other.localhost": 400, "acme.localhost": 200} {
		r := httptest.NewRequest("GET", "/v2/app/tags/list", nil)
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
		r.Host = "acme.localhost"
		r.Header["Host"] = []string{other}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %q: %d %s", other, w.Code, w.Body)
		}
	}
}

func TestSuspendedTenantIsDeniedEverything(t *testing.T) {
	d := openDeployment(t)
	serveReached(d)
	tn, err := d.Meta.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	tn.State = tenant.Suspended
	if _, err := d.Meta.UpdateTenant(t.Context(), fronttest.By(), tn); err != nil {
		t.Fatal(err)
	}
	d.Sites.Clear()
	for _, path := range []string{"/v2/", "/token", "/v2/app/tags/list", "/v2/app/blobs/uploads/"} {
		if got := d.Do(fronttest.Request{Host: "acme.localhost", Path: path}); got.Status != 403 || got.Code() != "DENIED" {
			t.Errorf("%s: %d %s", path, got.Status, got.Body)
		}
	}
}
