package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestT33_TimeoutsAreThoseOfTheUpstream: for the connection, the first byte and the next
// bytes, each shorter and longer than the default.
func TestT33_TimeoutsAreThoseOfTheUpstream(t *testing.T) {
	const short, long = 30 * time.Millisecond, time.Minute
	silent, _ := net.Listen("tcp", "127.0.0.1:0") // accepted by the kernel, and no handshake follows
	defer silent.Close()
	content := make([]byte, 4<<10)
	digest := oci.DigestOf(oci.SHA256, content)
	var hold atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isBlob := strings.Contains(r.URL.Path, "/blobs/")
		if isBlob {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content[:10])
			w.(http.Flusher).Flush()
		}
		if pause.For(r.Context(), time.Duration(hold.Load())) != nil {
			return
		}
		if isBlob {
			_, _ = w.Write(content[10:])
			return
		}
		sendImage(w, r)
	}))
	defer s.Close()
	ask := func(byDefault time.Duration, url string, own Limits, blob bool) error {
		l := patient()
		l.dial, l.tls, l.answer, l.window, l.windowBytes = byDefault, byDefault, byDefault, byDefault, 1<<10
		c := clientOf(t, newClients(Options{Allow: loopback}, l), Config{Target: Target{URL: url}, Limits: own})
		if !blob {
			_, err := c.Manifest(t.Context(), "a/b", latest)
			return err
		}
		b, err := c.Blob(t.Context(), "a/b", digest, int64(len(content)))
		if err != nil {
			return err
		}
		_, err = readAndClose(t, b)
		return err
	}
	start := time.Now()
	wantOutage(t, ask(long, "https://"+silent.Addr().String(), Limits{Connect: short}, false))
	if took := time.Since(start); took > long/2 {
		t.Errorf("the connection was given up after %v", took)
	}
	for blob, own := range map[bool]Limits{false: {Response: short, Progress: long}, true: {Response: long, Progress: short}} {
		hold.Store(int64(long / 2)) // then it succeeds
		if e := wantOutage(t, ask(long, s.URL, own, blob)); !e.Timeout {
			t.Errorf("blob %t: %v", blob, e)
		}
		wantOutage(t, ask(short, s.URL, Limits{}, blob))
		hold.Store(int64(10 * short))
		if err := ask(short, s.URL, Limits{Connect: long, Response: long, Progress: long}, blob); err != nil {
			t.Errorf("blob %t: a slow upstream that may be: %v", blob, err)
		}
	}
}

// TestT34_AuthoritiesOfAnUpstream are its own: no other upstream trusts them, nor uses its
// connections.
func TestT34_AuthoritiesOfAnUpstream(t *testing.T) {
	site := serveSecure(t, sendImage, "up.example.com")
	cs := newClients(Options{Allow: loopback, Resolver: leadTo(t, "127.0.0.1")}, patient())
	url := "https://up.example.com:" + site.port
	with := clientOf(t, cs, Config{Key: "1", Target: Target{URL: url, CA: string(site.pem(t))}})
	for range 2 {
		if _, err := with.Manifest(t.Context(), "a/b", latest); err != nil {
			t.Fatal(err)
		}
		_, err := clientOf(t, cs, Config{Key: "2", Target: Target{URL: url}}).Manifest(t.Context(), "a/b", latest)
		wantOutage(t, err)
		var unknown x509.UnknownAuthorityError
		if !errors.As(err, &unknown) {
			t.Errorf("%v", err)
		}
	}
}

// clientPair is a client certificate and its key in PEM.
func clientPair(t *testing.T, a *testserver.Authority) (string, string) {
	t.Helper()
	dir := t.TempDir()
	a.Issue(t, dir, "client", "berth.example.com")
	cert, err := os.ReadFile(filepath.Join(dir, "client.crt"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	return string(cert), string(key)
}

// wanting is a site that wants a client certificate of the authority where mode says so.
func wanting(t *testing.T, mode tls.ClientAuthType, a *testserver.Authority, h http.HandlerFunc, name string) *secureSite {
	t.Helper()
	site := serveSecure(t, h, name)
	site.TLS.ClientAuth, site.TLS.ClientCAs = mode, a.Pool
	return site
}

// TestT34_TheClientCertificateIsForItsHostOnly, although others ask for one.
func TestT34_TheClientCertificateIsForItsHostOnly(t *testing.T) {
	clients := testserver.NewAuthority(t)
	cert, key := clientPair(t, clients)
	store := wanting(t, tls.RequestClientCert, clients, sendImage, "store.example.com")
	beside := wanting(t, tls.RequestClientCert, clients, sendImage, "up.example.com") // the same host, another port
	site := wanting(t, tls.RequireAndVerifyClientCert, clients, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "beside") {
			http.Redirect(w, r, "https://up.example.com:"+beside.port+r.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		if strings.HasSuffix(r.URL.Path, "latest") {
			http.Redirect(w, r, "https://store.example.com:"+store.port+r.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		sendImage(w, r)
	}, "up.example.com")
	cs := newClients(Options{Allow: loopback, Resolver: leadTo(t, "127.0.0.1"), Authorities: always(slices.Concat(site.pem(t), store.pem(t), beside.pem(t)))}, patient())
	cfg := Config{Key: "1", Target: Target{URL: "https://up.example.com:" + site.port, ClientCertificate: cert, ClientKey: key}, AuthHosts: []string{"named.example.com", "store.example.com:" + store.port}}
	one := oci.Reference{Tag: "1"}
	if _, err := clientOf(t, cs, cfg).Manifest(t.Context(), "a/b", one); err != nil {
		t.Fatal(err)
	}
	if _, err := clientOf(t, cs, cfg).Manifest(t.Context(), "a/b", latest); err != nil {
		t.Fatal(err)
	}
	if got := store.requests()[0].TLS.PeerCertificates; len(got) != 1 {
		t.Error("a host of auth_hosts got no certificate")
	}
	if _, err := clientOf(t, cs, cfg).Manifest(t.Context(), "a/b", oci.Reference{Tag: "beside"}); err != nil {
		t.Fatal(err)
	}
	if got := beside.requests()[0].TLS.PeerCertificates; len(got) != 0 {
		t.Error("another port of the host got the certificate")
	}
	// A public upstream leads to a host that its tenant does not name.
	cs = newClients(Options{Authorities: always(append(site.pem(t), store.pem(t)...)), Proxies: []Proxy{{Name: "corp", URL: "http://" + leading(t, site, store) + "?resolve=proxy"}}}, patient())
	cfg.AuthHosts, cfg.Proxy = nil, "corp"
	if _, err := clientOf(t, cs, cfg).Manifest(t.Context(), "a/b", latest); err != nil {
		t.Fatal(err)
	}
	if got := store.requests(); len(got[len(got)-1].TLS.PeerCertificates) != 0 {
		t.Error("a foreign host got the certificate")
	}
	none := cfg
	none.Key, none.ClientCertificate, none.ClientKey = "2", "", ""
	_, err := clientOf(t, cs, none).Manifest(t.Context(), "a/b", one)
	wantOutage(t, err)
	none.ClientCertificate = cert
	if _, err := cs.Client(none); fault.From(err).Field != "client_certificate" {
		t.Errorf("a certificate without its key: %v", err)
	}
}

// leading is a proxy that leads the names of the sites to them.
func leading(t *testing.T, sites ...*secureSite) string {
	t.Helper()
	p := testserver.StartScriptedProxy(t, nil)
	for _, s := range sites {
		for _, name := range []string{"up.example.com", "store.example.com"} {
			p.Hosts[name+":"+s.port] = s.Listener.Addr().String()
		}
	}
	return p.Addr()
}

// TestT35_HeadersAreForTheUpstreamsOwnHost: for /v2/, manifests, blobs and its own token
// endpoint, and not for that of another host, a redirect, or what a redirect leads back to.
func TestT35_HeadersAreForTheUpstreamsOwnHost(t *testing.T) {
	w, cs := newWorld()
	const auth, cdn = "https://auth.example.com", "https://cdn.example.com"
	w.hosts[origin] = func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.RawQuery == "back":
			sendImage(rw, r)
		case r.Header.Get("Authorization") == "":
			rw.Header().Set("WWW-Authenticate", `Bearer realm="`+auth+`/token"`)
			rw.WriteHeader(http.StatusUnauthorized)
		default:
			http.Redirect(rw, r, cdn+r.URL.Path, http.StatusTemporaryRedirect)
		}
	}
	w.hosts[auth] = func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(`{"token": "t"}`)) }
	w.hosts[cdn] = func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, origin+r.URL.Path+"?back", http.StatusTemporaryRedirect)
	}
	c := clientOf(t, cs, Config{
		Target: Target{URL: origin, Username: "bob", Password: "secret", Headers: map[string]string{"Cf-Access-Client-Secret": "shh", "User-Agent": "chosen"}}, AuthHosts: []string{"auth.example.com"},
	})
	if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range w.requests() {
		got = append(got, fmt.Sprint(r.URL.Host, " ", r.URL.Path == "/v2/", r.URL.RawQuery == "back", " ", r.Header.Get("Cf-Access-Client-Secret"), r.Header.Get("User-Agent")))
	}
	for _, line := range got {
		own := strings.HasPrefix(line, strings.TrimPrefix(origin, "https://")) && !strings.Contains(line, "false true")
		if own != strings.HasSuffix(line, "shhchosen") {
			t.Errorf("%q in %q", line, got)
		}
	}
	if len(got) < 5 {
		t.Errorf("%q", got)
	}
}

// TestT36_OtherURLsAreAskedDuringAnOutageOnly, each with its own credential.
func TestT36_OtherURLsAreAskedDuringAnOutageOnly(t *testing.T) {
	down := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) }
	absent := func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusNotFound)
		_, _ = rw.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`))
	}
	denied := func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusForbidden)
		_, _ = rw.Write([]byte(`{"errors":[{"code":"DENIED"}]}`))
	}
	limited := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusTooManyRequests) }
	const second, third = "https://second.example.com", "https://third.example.com"
	for name, c := range map[string]struct {
		first, second, third http.HandlerFunc
		want                 Outcome
		asked                string // hosts
	}{
		"found":             {sendImage, sendImage, sendImage, Found, "1"},
		"absent":            {absent, sendImage, sendImage, NotHere, "1"},
		"denied":            {denied, sendImage, sendImage, Denied, "1"},
		"out":               {down, sendImage, sendImage, Found, "12"},
		"limited":           {limited, sendImage, sendImage, Found, "12"},
		"unreachable":       {nil, sendImage, sendImage, Found, "12"},
		"two are out":       {down, down, sendImage, Found, "123"},
		"all are out":       {down, down, down, Outage, "123"},
		"the second absent": {down, absent, sendImage, Outage, "12"},
		"the second denied": {down, denied, sendImage, Outage, "12"},
	} {
		t.Run(name, func(t *testing.T) {
			w, cs := newWorld()
			for at, h := range map[string]http.HandlerFunc{origin: c.first, second: c.second, third: c.third} {
				if h == nil {
					continue
				}
				w.hosts[at] = requireBasic(h)
			}
			client := clientOf(t, cs, Config{
				Target:       Target{URL: origin, Username: "first", Password: "1", Headers: map[string]string{"X-Secret": "shh"}},
				Alternatives: []Target{{URL: second, Username: "second", Password: "2"}, {URL: third, Username: "third", Password: "3"}},
			})
			_, err := client.Manifest(t.Context(), "a/b", latest)
			if got := OutcomeOf(err); got != c.want {
				t.Errorf("%s, want %s: %v", got, c.want, err)
			}
			asked := map[string]bool{}
			for _, r := range w.requests() {
				user, _, ok := r.BasicAuth()
				host, _, _ := strings.Cut(r.URL.Host, ".")
				first := "https://"+r.URL.Host == origin
				if want := map[bool]string{true: "first", false: host}[first]; ok && user != want {
					t.Errorf("%s got the credential of %s", r.URL.Host, user)
				}
				if r.Header.Get("X-Secret") != "" && !first {
					t.Errorf("%s got a header", r.URL.Host)
				}
				asked[r.URL.Host] = true
			}
			want := len(c.asked)
			if len(asked) != want {
				t.Errorf("asked %v", asked)
			}
			if s := client.Status(); c.want == Found && s.Health != Healthy {
				t.Errorf("the upstream is %s", s.Health)
			}
		})
	}
}

// TestT37_ThePaceIsThatOfTheUpstream: requests are spaced, and retries count.
func TestT37_ThePaceIsThatOfTheUpstream(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		w, cs := newWorld()
		var at []time.Duration
		start := time.Now()
		w.hosts[origin] = func(rw http.ResponseWriter, r *http.Request) {
			at = append(at, time.Since(start))
			if r.Method == http.MethodHead {
				rw.WriteHeader(http.StatusMethodNotAllowed) // one more request
				return
			}
			sendImage(rw, r)
		}
		c := clientOf(t, cs, Config{Target: Target{URL: origin}, Limits: Limits{Pace: 2}})
		if _, err := c.HeadManifest(t.Context(), "a/b", "1"); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
				t.Fatal(err)
			}
		}
		if took := at[len(at)-1]; len(at) != 10 || took < 4400*time.Millisecond || took > 4600*time.Millisecond {
			t.Errorf("%d requests in %v", len(at), took)
		}
	})
}

// TestT36_APaceIsNoOutage: the next URL is not asked to keep the pace of the one before.
func TestT36_APaceIsNoOutage(t *testing.T) {
	w, cs := newWorld()
	const second = "https://second.example.com"
	w.hosts[origin], w.hosts[second] = sendImage, sendImage
	c := clientOf(t, cs, Config{Target: Target{URL: origin}, Limits: Limits{Pace: 0.1}, Alternatives: []Target{{URL: second}}})
	for range 5 {
		c.pace.Reserve()
	}
	_, err := c.Manifest(t.Context(), "a/b", latest)
	if e := wantOutage(t, err); !e.RateLimited || len(w.requests()) > 0 {
		t.Errorf("%v, %d requests", err, len(w.requests()))
	}
}

// TestT37_RequestsInFlightAreBounded, documents and blobs together.
func TestT37_RequestsInFlightAreBounded(t *testing.T) {
	content := []byte("content")
	digest := oci.DigestOf(oci.SHA256, content)
	var running, most atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		wait := time.NewTimer(20 * time.Millisecond)
		defer wait.Stop()
		<-wait.C
		if strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = w.Write(content)
			return
		}
		sendImage(w, r)
	}))
	defer s.Close()
	c := clientOf(t, newClients(Options{Allow: loopback}, patient()), Config{Target: Target{URL: s.URL}, Limits: Limits{Requests: 2}})
	done := make(chan error)
	for i := range 12 {
		go func() {
			if i%2 == 0 {
				_, err := c.Manifest(t.Context(), "a/b", latest)
				done <- err
				return
			}
			b, err := c.Blob(t.Context(), "a/b", digest, int64(len(content)))
			if err == nil {
				_, err = readAndClose(t, b)
			}
			done <- err
		}()
	}
	for range 12 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > 2 {
		t.Errorf("%d requests at once", most.Load())
	}
}
