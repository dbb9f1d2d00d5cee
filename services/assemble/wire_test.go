package assemble_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	adminv1 "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/services/backup"
	"github.com/berth-registry/berth/tools/testserver"
)

// mutual gives nodes a certificate of the authority for the names.
func mutual(t *testing.T, c boot.Config, a *testserver.Authority, names ...string) boot.Config {
	t.Helper()
	c.InternalTLSCerts, c.InternalTLSCA = t.TempDir(), a.File
	a.Issue(t, c.InternalTLSCerts, "node", names...)
	return c
}

// TestS27_InternalCallsAreMutualTLS has split services that call each other by TLS: a
// push and a pull by way of other processes work, and no one without a certificate of
// the deployment's authorities gets to say a word.
func TestS27_InternalCallsAreMutualTLS(t *testing.T) {
	up := testserver.StartScripted(t)
	authority, foreign := testserver.NewAuthority(t), testserver.NewAuthority(t)
	c := mutual(t, servers(t, testserver.StartRedis(t).URL()), authority, "127.0.0.1")
	w := startSplitWith(t, c, chainSeed(up.URL(), up.Addr()), chained)
	img := ocitest.NewImage(7, 3000)
	for range 3 { // one of three goes by way of a registry
		r := w.repository(devHost, "suite", "team/app")
		r.pushImage(t, img, "1")
		r.wantImage(t, "1", img)
	}
	for range 3 {
		w.repository(devHost, "reader", testserver.ScriptedName).wantImage(t, testserver.ScriptedTag, up.Image)
	}

	at := w.only(boot.ProxyService)[0].at("internal_addr")
	own, others := c.InternalTLSCerts, t.TempDir()
	foreign.Issue(t, others, "node", "127.0.0.1")
	ask := func(scheme string, config *tls.Config) (int, error) {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		defer client.CloseIdleConnections()
		answer, err := client.Get(scheme + "://" + at + "/v2/")
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	for name, config := range map[string]*tls.Config{
		"no certificate":                  authority.Client(t, "", ""),
		"a certificate of someone else's": authority.Client(t, others, "node"),
	} {
		if code, err := ask("https", config); err == nil || !strings.Contains(err.Error(), "tls: ") {
			t.Errorf("%s: status %d, error %v", name, code, err)
		}
	}
	if code, err := ask("http", nil); err == nil && code != http.StatusBadRequest {
		t.Errorf("without TLS: status %d", code)
	}
	if code, err := ask("https", authority.Client(t, own, "node")); err != nil || code != http.StatusForbidden {
		t.Errorf("a certificate without a signature: status %d, %v; want 403", code, err)
	}
}

// TestS27_CallersCheckWhomTheyCall by authority and name: what is in the way hears no
// call, and the client hears of an outage.
func TestS27_CallersCheckWhomTheyCall(t *testing.T) {
	authority, foreign := testserver.NewAuthority(t), testserver.NewAuthority(t)
	c := servers(t, "")
	for _, tc := range []struct {
		name    string
		called  boot.Config
		calling func(*boot.Config)
		want    int
	}{
		{"by its address", mutual(t, c, authority, "127.0.0.1"), nil, http.StatusOK},
		{"another name", mutual(t, c, authority, "proxy.other"), nil, http.StatusServiceUnavailable},
		{"a name that is expected", mutual(t, c, authority, "berth.internal"), func(c *boot.Config) { c.InternalTLSName = "berth.internal" }, http.StatusOK},
		{"a name that is not", mutual(t, c, authority, "127.0.0.1"), func(c *boot.Config) { c.InternalTLSName = "berth.internal" }, http.StatusServiceUnavailable},
		{"another authority", mutual(t, c, foreign, "127.0.0.1"), nil, http.StatusServiceUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.called.Services = []string{boot.TokenService}
			tokens := startNode(t, edited(t, seeded(t, tc.called, uploadsSeed), nil))
			calling := mutual(t, c, authority, "127.0.0.1")
			calling.Services = []string{boot.RegistryService, boot.AdminService}
			calling.TokenURL = internalURL(calling, tokens.at("internal_addr"))
			n := startNode(t, edited(t, seeded(t, calling, uploadsSeed), []edit{func(c *boot.Config) {
				if tc.calling != nil {
					tc.calling(c)
				}
			}}))
			a, err := newWorld(t, n.at("data_addr"), n).repository(uploadsHost, "suite", "app").try(request{method: http.MethodGet, target: "/token?service=" + uploadsHost})
			if err != nil || a.status != tc.want {
				t.Errorf("status %d, %v, want %d: %s", a.status, err, tc.want, a.body)
			}
		})
	}
}

// shown is the certificate that a listener shows, as soon as it is another one than
// before.
func shown(t *testing.T, addr string, config *tls.Config, before *x509.Certificate) *x509.Certificate {
	t.Helper()
	var cert *x509.Certificate
	await.True(t, 30*time.Second, addr+" shows another certificate", func() bool {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: config}
		c, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return false
		}
		defer c.Close()
		cert = c.(*tls.Conn).ConnectionState().PeerCertificates[0]
		return before == nil || !cert.Equal(before)
	})
	return cert
}

// TestS28_TheAdminAPISpeaksTLS over REST and gRPC, and a backup beside the server
// trusts its certificate, whichever authority signed it.
func TestS28_TheAdminAPISpeaksTLS(t *testing.T) {
	authority := testserver.NewAuthority(t)
	certs := t.TempDir()
	authority.Issue(t, certs, "admin", "berth.example.com")
	w := startEmbedded(t, "tenants: [{id: acme}]", func(c *boot.Config) { c.AdminTLSCerts = certs })
	n := w.nodes[0]
	config := authority.Client(t, "", "")
	config.ServerName = "berth.example.com"

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+n.at("admin_addr")+"/v1/tenants/acme", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("REST: %s, %v: %s", answer.Status, err, text)
	}

	conn, err := grpc.NewClient("passthrough:///"+n.at("admin_grpc_addr"), grpc.WithTransportCredentials(credentials.NewTLS(config.Clone())))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secret)
	if got, err := adminv1.NewAdminServiceClient(conn).GetTenant(ctx, &adminv1.GetTenantRequest{Name: "tenants/acme"}); err != nil || got.GetName() != "tenants/acme" {
		t.Errorf("gRPC: %v, %v", got, err)
	}
	if _, err := adminv1.NewAdminServiceClient(conn).GetTenant(t.Context(), &adminv1.GetTenantRequest{Name: "tenants/acme"}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("gRPC without a token: %v", err)
	}

	for _, setting := range []string{"admin_addr", "admin_grpc_addr"} {
		c, err := net.Dial("tcp", n.at(setting))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("GET /v1/tenants HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + secret + "\r\n\r\n"))
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		said, _ := io.ReadAll(c) // a reset is as good as an end
		_ = c.Close()
		if strings.Contains(string(said), "acme") || strings.Contains(string(said), "200 OK") {
			t.Errorf("%s without TLS answers %q", setting, said)
		}
	}

	beside := n.settings()
	beside.OperatorToken, beside.AdminTLSCerts = boot.NewSecret(secret), certs
	backUp(t, beside, backup.Copy{Dir: filepath.Join(t.TempDir(), "backup")})
	beside.AdminTLSCerts = t.TempDir()
	authority.Issue(t, beside.AdminTLSCerts, "admin", "berth.example.com")
	if _, err := assemble.Backup(t.Context(), beside, backup.Copy{Dir: filepath.Join(t.TempDir(), "backup")}); err == nil {
		t.Error("a backup trusts a certificate that is not that of admin_tls_certs")
	}
}

// TestS29_CertificatesAreReadAgain by running processes, and so are authorities: a
// client of one that was taken out gets in no more.
func TestS29_CertificatesAreReadAgain(t *testing.T) {
	first, second := testserver.NewAuthority(t), testserver.NewAuthority(t)
	admin := t.TempDir()
	first.Issue(t, admin, "admin", "127.0.0.1")
	c := mutual(t, servers(t, ""), first, "127.0.0.1")
	c.InternalTLSCA = filepath.Join(t.TempDir(), "authorities.crt")
	copyTo(t, c.InternalTLSCA, first.File)
	c.AdminTLSCerts = admin
	c.Services = []string{boot.AdminService, boot.TokenService}
	n := startNode(t, edited(t, seeded(t, c, uploadsSeed), nil))

	trusting := first.Client(t, "", "")
	before := shown(t, n.at("admin_addr"), trusting, nil)
	first.Issue(t, admin, "admin", "127.0.0.1")
	shown(t, n.at("admin_addr"), trusting, before)
	shown(t, n.at("admin_grpc_addr"), trusting, before)

	old := first.Client(t, c.InternalTLSCerts, "node")
	before = shown(t, n.at("internal_addr"), old, nil)
	own := t.TempDir()
	second.Issue(t, own, "client", "127.0.0.1")
	second.Issue(t, c.InternalTLSCerts, "node", "127.0.0.1")
	copyTo(t, c.InternalTLSCA, second.File)
	shown(t, n.at("internal_addr"), second.Client(t, own, "client"), before)

	old.RootCAs = second.Pool
	conn, err := tls.Dial("tcp", n.at("internal_addr"), old)
	if err == nil { // with TLS 1.3 the refusal comes with the first answer
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "tls: ") {
		t.Errorf("a client of the authority of before: %v", err)
	}
}

func copyTo(t *testing.T, to, from string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
