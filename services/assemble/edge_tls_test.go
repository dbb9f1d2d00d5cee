package assemble_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestS10_AnswersByTLSHaveHSTS, of a running process, by HTTP/1.1 and HTTP/2.
func TestS10_AnswersByTLSHaveHSTS(t *testing.T) {
	authority := testserver.NewAuthority(t)
	certs := t.TempDir()
	authority.Issue(t, certs, "acme", "acme.localhost")
	w := startEmbedded(t, "tenants: [{id: acme}]", func(c *boot.Config) { c.TLSCerts = certs })
	data := w.nodes[0].at("data_addr")
	for _, http2 := range []bool{false, true} {
		config := authority.Client(t, "", "")
		config.ServerName = "acme.localhost"
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: http2}
		for _, path := range []string{"/v2/", "/nothing", "/token"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+data+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = "acme.localhost"
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.Header.Get("Strict-Transport-Security") == "" || (resp.ProtoMajor == 2) != http2 {
				t.Errorf("%s %s: %d, %v", resp.Proto, path, resp.StatusCode, resp.Header)
			}
		}
		transport.CloseIdleConnections()
	}
	resp, err := http.Get("http://" + w.nodes[0].at("admin_addr") + "/openapi.json") // without TLS
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("Strict-Transport-Security") != "" {
		t.Error("a listener without TLS says that clients shall speak it")
	}
}

// TestS11_AScanTellsNoTenant, whatever certificates of tenants the process has; one who
// names a tenant gets that one's.
func TestS11_AScanTellsNoTenant(t *testing.T) {
	authority := testserver.NewAuthority(t)
	certs := t.TempDir()
	authority.Issue(t, certs, "acme", "acme.localhost", "127.0.0.1")
	authority.Issue(t, certs, "customer", "registry.customer.example.com")
	w := startEmbedded(t, "tenants: [{id: acme}]", func(c *boot.Config) { c.TLSCerts = certs })
	names := func(server string) []string {
		t.Helper()
		c, err := tls.Dial("tcp", w.nodes[0].at("data_addr"), &tls.Config{InsecureSkipVerify: true, ServerName: server}) //nolint:forbidigo // what is looked at is which certificate comes
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		leaf := c.ConnectionState().PeerCertificates[0]
		return slices.Concat(leaf.DNSNames, strings.Fields(leaf.Subject.CommonName))
	}
	if got := names(""); len(got) > 0 {
		t.Errorf("a scan learns %v", got)
	}
	if got := names("acme.localhost"); !slices.Contains(got, "acme.localhost") || slices.Contains(got, "registry.customer.example.com") {
		t.Errorf("a client of acme gets %v", got)
	}
}

// TestS12_WideTrustIsWarnedOf at the start: nearly everyone could say where they come
// from.
func TestS12_WideTrustIsWarnedOf(t *testing.T) {
	for network, want := range map[string]bool{
		"0.0.0.0/0": true, "::/0": true, "128.0.0.0/1": true, "2000::/3": true,
		"10.0.0.0/8": false, "127.0.0.0/8": false, "fd00::/8": false, "192.0.2.7/32": false, "2001:db8::/32": false,
	} {
		var log bytes.Buffer
		c := boot.Default()
		c.DataDir = filepath.Join(t.TempDir(), "data")
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(network)}
		if _, err := boot.New(t.Context(), c, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "trusted_proxies names a network that is very wide"); got != want {
			t.Errorf("%s: warned %v: %s", network, got, log.String())
		}
	}
}
