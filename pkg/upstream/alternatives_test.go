package upstream

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/tools/testserver"
)

// requireBasic asks each request for a password, and answers with h then.
func requireBasic(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" || r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h(w, r)
	}
}

// leafOf is the first certificate of a text in PEM, in DER.
func leafOf(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no certificate in PEM")
	}
	return block.Bytes
}

// TestT72_AnAlternativeHasWhatIsItsOwn: a password, a client certificate, headers and
// authorities. Neither it nor the first URL gets anything of the other's, also where one
// leads to the other, or to a host of auth_hosts.
func TestT72_AnAlternativeHasWhatIsItsOwn(t *testing.T) {
	clients := testserver.NewAuthority(t)
	firstCert, firstKey := clientPair(t, clients)
	otherCert, otherKey := clientPair(t, clients)
	down := requireBasic(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	first := wanting(t, tls.RequestClientCert, clients, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/led") {
			sendImage(w, r)
			return
		}
		down(w, r)
	}, "first.example.com")
	store := wanting(t, tls.RequestClientCert, clients, sendImage, "store.example.com")
	other := wanting(t, tls.RequireAndVerifyClientCert, clients, requireBasic(func(w http.ResponseWriter, r *http.Request) {
		at := "https://store.example.com:" + store.port
		if strings.HasSuffix(r.URL.Path, "back") {
			at = "https://first.example.com:" + first.port
		}
		http.Redirect(w, r, at+r.URL.Path+"/led", http.StatusTemporaryRedirect)
	}), "other.example.com")
	cfg := Config{
		Key:       "1",
		Target:    Target{URL: "https://first.example.com:" + first.port, Username: "first", Password: "1", CA: string(first.pem(t)), ClientCertificate: firstCert, ClientKey: firstKey, Headers: map[string]string{"X-First": "1"}},
		AuthHosts: []string{"first.example.com:" + first.port, "store.example.com:" + store.port},
		Alternatives: []Target{{
			URL: "https://other.example.com:" + other.port, Username: "other", Password: "2", CA: string(other.pem(t)) + string(store.pem(t)) + string(first.pem(t)),
			ClientCertificate: otherCert, ClientKey: otherKey, Headers: map[string]string{"X-Other": "2"},
		}},
	}
	cs := newClients(Options{Allow: loopback, Resolver: leadTo(t, "127.0.0.1")}, patient())
	for _, tag := range []string{"latest", "back"} {
		if _, err := clientOf(t, cs, cfg).Manifest(t.Context(), "a/b", oci.Reference{Tag: tag}); err != nil {
			t.Fatal(err)
		}
	}
	for _, site := range []struct {
		*secureSite
		name, cert string
	}{{first, "first", firstCert}, {other, "other", otherCert}, {store, "store", ""}} {
		if len(site.requests()) == 0 {
			t.Errorf("%s was not asked", site.name)
		}
		for _, r := range site.requests() {
			led := strings.HasSuffix(r.URL.Path, "/led")
			if user, _, ok := r.BasicAuth(); ok && (user != site.name || led) {
				t.Errorf("%s got the password of %s at %s", site.name, user, r.URL.Path)
			}
			own, foreign := r.Header.Get("X-First"), r.Header.Get("X-Other")
			if site.name == "other" {
				own, foreign = foreign, own
			}
			if (own != "") == led || foreign != "" {
				t.Errorf("%s got the headers %q and %q at %s", site.name, own, foreign, r.URL.Path)
			}
			if got := r.TLS.PeerCertificates; (len(got) == 0) != led || !led && !bytes.Equal(leafOf(t, site.cert), got[0].Raw) {
				t.Errorf("%s got %d certificates, or another's, at %s", site.name, len(got), r.URL.Path)
			}
		}
	}
}

// TestT72_AnAlternativeGetsNothingOfTheFirstURL but its authorities, which are no secret.
func TestT72_AnAlternativeGetsNothingOfTheFirstURL(t *testing.T) {
	clients := testserver.NewAuthority(t)
	cert, key := clientPair(t, clients)
	other := wanting(t, tls.RequestClientCert, clients, sendImage, "other.example.com")
	cfg := Config{
		Key:          "1",
		Target:       Target{URL: "https://first.example.com:1", Username: "first", Password: "1", CA: string(other.pem(t)), ClientCertificate: cert, ClientKey: key, Headers: map[string]string{"X-First": "1"}},
		Alternatives: []Target{{URL: "https://other.example.com:" + other.port}},
	}
	cs := newClients(Options{Allow: loopback, Resolver: leadTo(t, "127.0.0.1")}, patient())
	if _, err := clientOf(t, cs, cfg).Manifest(t.Context(), "a/b", latest); err != nil {
		t.Fatal(err)
	}
	for _, r := range other.requests() {
		if r.Header.Get("Authorization") != "" || r.Header.Get("X-First") != "" || len(r.TLS.PeerCertificates) > 0 {
			t.Errorf("%s: %v, %d certificates", r.URL, r.Header, len(r.TLS.PeerCertificates))
		}
	}
	cfg.Alternatives[0].CA = string(serveSecure(t, sendImage, "x.example.com").pem(t)) // in place of the first URL's
	cfg.Key = "2"
	_, err := clientOf(t, cs, cfg).others[0].Manifest(t.Context(), "a/b", latest)
	wantOutage(t, err)
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("%v", err)
	}
}
