package boot

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// issuer makes certificates, and is what clients trust.
type issuer struct{ roots *x509.CertPool }

// pair makes a certificate for names and its key, both in PEM. The serial
// number tells it from others.
func (i issuer) pair(t *testing.T, serial int64, names ...string) ([]byte, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().Add(-time.Hour).Add(time.Duration(serial) * time.Second), NotAfter: time.Now().Add(time.Hour),
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	i.roots.AddCert(leaf)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func put(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// handshake asks for a name and returns the serial number of the certificate.
func (i issuer) handshake(t *testing.T, config *tls.Config, name string) (int64, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_ = tls.Server(c, config).Handshake() // the client sees how it ended
			c.Close()
		}
	}()
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{ServerName: name, RootCAs: i.roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestCertificateIsChosenByName(t *testing.T) {
	ca := issuer{x509.NewCertPool()}
	dir := t.TempDir()
	c1, k1 := ca.pair(t, 1, "*.registry.test")
	put(t, filepath.Join(dir, "wild.crt"), c1)
	put(t, filepath.Join(dir, "wild.key"), k1)
	c2, k2 := ca.pair(t, 2, "acme.registry.test")
	put(t, filepath.Join(dir, "acme", "tls.crt"), c2) // as Kubernetes mounts it
	put(t, filepath.Join(dir, "acme", "tls.key"), k2)
	c3, k3 := ca.pair(t, 3, "registry.customer.test")
	put(t, filepath.Join(dir, "customer.pem"), append(c3, k3...))
	c4, k4 := ca.pair(t, 4, "127.0.0.1")
	put(t, filepath.Join(dir, "address.pem"), append(c4, k4...))
	put(t, filepath.Join(dir, "..2026", "tls.crt"), []byte("not looked at"))

	certs, err := openCertificates(certificateDir{settingDataCerts, dir}, "registry.test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{
		"acme.registry.test": 2, "other.registry.test": 1, "ACME.registry.test": 2, "registry.customer.test": 3, "127.0.0.1": 4,
	} {
		if got, err := ca.handshake(t, certs.config(), name); err != nil || got != want {
			t.Errorf("%s: certificate %d, error %v; want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"registry.test", "a.b.registry.test", "evil.test"} {
		if got, err := ca.handshake(t, certs.config(), name); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: certificate %d, error %v; want the alert", name, got, err)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	if v := (&certificates{}).config().MinVersion; v != tls.VersionTLS12 {
		t.Errorf("least version %s", tls.VersionName(v))
	}
}

func TestBadCertificatesAreNamedAtStart(t *testing.T) {
	ca := issuer{x509.NewCertPool()}
	good, key := ca.pair(t, 1, "a.test")
	_, otherKey := ca.pair(t, 2, "a.test")
	for name, c := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"empty":       {nil, "holds no certificate"},
		"no key":      {map[string][]byte{"a.crt": good}, "a.key: no such file"},
		"wrong key":   {map[string][]byte{"a.crt": good, "a.key": otherKey}, "a.crt with "},
		"not PEM":     {map[string][]byte{"a.crt": []byte("x"), "a.key": key}, "a.crt with "},
		"one is good": {map[string][]byte{"a.crt": good, "a.key": key, "b.crt": []byte("x"), "b.key": key}, "b.crt with "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, text := range c.files {
				put(t, filepath.Join(dir, f), text)
			}
			_, err := openCertificates(certificateDir{settingDataCerts, dir}, "registry.test", slog.New(slog.DiscardHandler))
			if err == nil || !strings.HasPrefix(err.Error(), "tls_certs: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// reloads waits for what is logged.
type reloads struct{ lines chan string }

func (r reloads) Write(p []byte) (int, error) {
	r.lines <- string(p)
	return len(p), nil
}

func (r reloads) next(t *testing.T, want string) {
	t.Helper()
	for {
		select {
		case line := <-r.lines:
			if strings.Contains(line, want) {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nothing logged %q", want)
		}
	}
}

func TestCertificatesFollowTheFiles(t *testing.T) {
	ca := issuer{x509.NewCertPool()}
	dir := t.TempDir()
	crt, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	c1, k1 := ca.pair(t, 1, "a.test")
	put(t, crt, c1)
	put(t, key, k1)
	logged := reloads{make(chan string, 100)}
	certs, err := openCertificates(certificateDir{settingDataCerts, dir}, "registry.test", slog.New(slog.NewTextHandler(logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- certs.watch(ctx) }()
	expect := func(name string, want int64) {
		t.Helper()
		if got, err := ca.handshake(t, certs.config(), name); err != nil || got != want {
			t.Errorf("%s: certificate %d, error %v; want %d", name, got, err, want)
		}
	}

	c2, k2 := ca.pair(t, 2, "a.test")
	put(t, crt, c2)
	put(t, key, k2)
	logged.next(t, "certificates read again")
	expect("a.test", 2)

	put(t, crt, []byte("half written"))
	logged.next(t, "stay as they were")
	expect("a.test", 2)

	c3, k3 := ca.pair(t, 3, "b.test")
	put(t, filepath.Join(dir, "sub", "tls.crt"), c3) // a new directory, too
	put(t, filepath.Join(dir, "sub", "tls.key"), k3)
	logged.next(t, "certificates read again")
	expect("b.test", 3)
	expect("a.test", 2)

	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
}

func TestReloadSaysOnceWhatChanged(t *testing.T) {
	ca := issuer{x509.NewCertPool()}
	var out bytes.Buffer
	dir := t.TempDir()
	c1, k1 := ca.pair(t, 1, "a.test")
	put(t, filepath.Join(dir, "a.crt"), c1)
	put(t, filepath.Join(dir, "a.key"), k1)
	certs, err := openCertificates(certificateDir{settingDataCerts, dir}, "registry.test", slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	c2, k2 := ca.pair(t, 2, "a.test")
	put(t, filepath.Join(dir, "a.crt"), c2)
	put(t, filepath.Join(dir, "a.key"), k2)
	certs.reload()
	certs.reload() // nothing changed: nothing is said
	if got, err := ca.handshake(t, certs.config(), "a.test"); err != nil || got != 2 {
		t.Errorf("certificate %d, error %v", got, err)
	}
	if n := strings.Count(out.String(), "certificates read again"); n != 1 {
		t.Errorf("%d reloads are logged:\n%s", n, out.String())
	}
}

// unnamed makes a handshake without a server name and returns the names of the
// certificate.
func unnamed(t *testing.T, config *tls.Config) []string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_ = tls.Server(c, config).Handshake() // the client sees how it ended
			c.Close()
		}
	}()
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:forbidigo // what is looked at is which certificate comes
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	if leaf.Subject.CommonName != "" {
		return append(namesOf(leaf), "CN="+leaf.Subject.CommonName)
	}
	return namesOf(leaf)
}

// Who names no server learns no name of a tenant: neither below the base domain nor of
// a domain of its own, also where the certificate is that of the address.
func TestS11_HandshakeWithoutANameTellsNone(t *testing.T) {
	ca := issuer{x509.NewCertPool()}
	dir := t.TempDir()
	add := func(file string, serial int64, names ...string) {
		crt, key := ca.pair(t, serial, names...)
		put(t, filepath.Join(dir, file+".crt"), crt)
		put(t, filepath.Join(dir, file+".key"), key)
	}
	look := func() []string {
		certs, err := openCertificates(certificateDir{settingDataCerts, dir}, "registry.test", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return unnamed(t, certs.config())
	}
	add("acme", 1, "acme.registry.test", "127.0.0.1")
	add("below", 2, "*.acme.registry.test")
	add("customer", 3, "registry.customer.test")
	if names := look(); len(names) > 0 {
		t.Errorf("tells %v", names)
	}
	add("wild", 4, "*.registry.test", "registry.test")
	if names := look(); !slices.Contains(names, "*.registry.test") {
		t.Errorf("the base domain's is not served: %v", names)
	}
	add("address", 5, "127.0.0.1")
	if names := look(); !slices.Contains(names, "127.0.0.1") || len(names) != 2 {
		t.Errorf("that of the address is not served: %v", names)
	}
	add("default", 6, "any.test")
	if names := look(); !slices.Contains(names, "any.test") {
		t.Errorf("the operator's choice is not served: %v", names)
	}
}

// TestV96_ACertificateThatNamesAMirrorHostIsRefused at the start, and when it is read again: then
// what was served before stays.
func TestV96_ACertificateThatNamesAMirrorHostIsRefused(t *testing.T) {
	ca := issuer{x509.NewCertPool()}
	label := tenant.NewMirrorLabel()
	for _, names := range [][]string{
		{label + ".registry.test"},
		{"a.test", strings.ToUpper(label) + ".registry.test"},
		{"*." + label + ".registry.test"},
		{"a.test", "*.a.test", label + ".elsewhere.test"},
	} {
		dir := t.TempDir()
		cert, key := ca.pair(t, 1, names...)
		put(t, filepath.Join(dir, "a.crt"), cert)
		put(t, filepath.Join(dir, "a.key"), key)
		_, err := openCertificates(certificateDir{settingDataCerts, dir}, "registry.test", slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "a.crt: the certificate names the mirror host") || strings.Contains(strings.ToLower(err.Error()), label) {
			t.Errorf("%q: %v", names, err)
		}
	}
	var out bytes.Buffer
	dir := t.TempDir()
	cert, key := ca.pair(t, 1, "*.registry.test")
	put(t, filepath.Join(dir, "a.crt"), cert)
	put(t, filepath.Join(dir, "a.key"), key)
	certs, err := openCertificates(certificateDir{settingDataCerts, dir}, "registry.test", slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	cert, key = ca.pair(t, 2, "*.registry.test", label+".registry.test")
	put(t, filepath.Join(dir, "a.crt"), cert)
	put(t, filepath.Join(dir, "a.key"), key)
	certs.reload()
	if got, err := ca.handshake(t, certs.config(), label+".registry.test"); err != nil || got != 1 || !strings.Contains(out.String(), "names the mirror host") || strings.Contains(out.String(), label) {
		t.Errorf("certificate %d, error %v:\n%s", got, err, out.String())
	}
}
