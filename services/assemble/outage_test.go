package assemble_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/tools/testserver"
)

// bearing sends a token along.
type bearing struct {
	http.RoundTripper
	token string
}

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.RoundTripper.RoundTrip(r)
}

// withToken is the repository as a client sees it that has asked for a token
// for everything there, and in the other repositories.
func (w *world) withToken(t *testing.T, r repository, others ...string) repository {
	t.Helper()
	var got struct{ Token string }
	query := url.Values{"scope": {"registry:catalog:*"}}
	for _, name := range append(others, r.name) {
		query.Add("scope", "repository:"+name+":pull,push,delete")
	}
	r.get(t, "/token?"+query.Encode()).want(t, http.StatusOK).decode(t, &got)
	r.client = &http.Client{Transport: bearing{w.client.Transport, got.Token}}
	return r
}

// outage is what a deployment is asked while something that it depends on is
// gone.
type outage struct {
	w        *world
	basic    repository // with a password in each request
	token    repository // and with a token
	image    manifest
	layer    digest.Digest
	location string // of a session that has bytes
	large    []byte // content of a blob
}

const (
	outageHost = "outage.localhost"
	lateHost   = "late.outage.localhost" // no one has asked for it yet
)

const outageSeed = `
tenants:
  - id: outage
    registries:
      - id: late
    service_accounts:
      - id: suite
        role: ADMIN
        keys:
          - id: key
            secret_file: secret
`

func newOutage(t *testing.T, w *world) *outage {
	t.Helper()
	o := &outage{w: w, basic: w.repository(outageHost, "suite", "app")}
	o.token = w.withToken(t, o.basic)
	o.image = o.basic.push(t, o.basic.image(t, nil), "latest")
	o.layer = layerOf(t, o.image)
	o.large = random(t, 24<<20)
	o.basic.blobOf(t, typeLayer, o.large)
	o.location = path(t, o.basic.start(t, "").location(t))
	o.basic.patch(t, o.location, 0, []byte("begun")).want(t, http.StatusAccepted)
	return o
}

// dataRequests are one request for each operation of the data port.
func (o *outage) dataRequests(t *testing.T) []request {
	t.Helper()
	r := o.basic
	content := []byte("new content")
	d := digest.FromBytes(content)
	manifest := headers("Content-Type", o.image.MediaType)
	blob := headers("Content-Type", typeBytes)
	return []request{
		{method: http.MethodGet, target: r.at("manifests/latest")},
		{method: http.MethodHead, target: r.at("manifests/latest")},
		{method: http.MethodGet, target: r.at("manifests/%s", o.image.Digest)},
		{method: http.MethodGet, target: r.at("manifests/missing")},
		{method: http.MethodPut, target: r.at("manifests/new"), header: manifest, body: o.image.payload},
		{method: http.MethodDelete, target: r.at("manifests/latest")},
		{method: http.MethodDelete, target: r.at("manifests/%s", o.image.Digest)},
		{method: http.MethodGet, target: r.at("blobs/%s", o.layer)},
		{method: http.MethodHead, target: r.at("blobs/%s", o.layer)},
		{method: http.MethodHead, target: r.at("blobs/%s", absent)},
		{method: http.MethodDelete, target: r.at("blobs/%s", o.layer)},
		{method: http.MethodGet, target: r.at("tags/list")},
		{method: http.MethodGet, target: r.at("referrers/%s", o.image.Digest)},
		{method: http.MethodGet, target: "/v2/_catalog"},
		{method: http.MethodPost, target: r.at("blobs/uploads/")},
		{method: http.MethodPost, target: r.at("blobs/uploads/?digest=%s", d), header: blob, body: content},
		{method: http.MethodPost, target: r.at("blobs/uploads/?mount=%s&from=elsewhere", o.layer)},
		{method: http.MethodGet, target: o.location},
		{method: http.MethodPatch, target: o.location, header: chunkHeaders(5, content), body: content},
		{method: http.MethodPut, target: withQuery(t, o.location, "digest", digest.FromString("begun").String()), header: blob},
		{method: http.MethodDelete, target: o.location},
	}
}

// adminRequests are one request for each operation of the admin API.
func adminRequests() []request {
	const t = "/v1/tenants/outage"
	var all []request
	add := func(method, target, body string) {
		all = append(all, request{method: method, target: target, body: []byte(body), header: headers("Authorization", "Bearer "+secret)})
	}
	for _, get := range []string{
		"/v1/tenants", t, t + "/registries", t + "/registries/main", t + "/registries/main/repositories", t + "/registries/main/repositories/app",
		t + "/registries/main/repositories/app:listTags", t + "/domains", t + "/domains/x.example.com", t + "/serviceAccounts", t + "/serviceAccounts/suite",
		t + "/serviceAccounts/suite/keys", t + "/events", t + "/usage", "/v1/tenants/missing",
	} {
		add(http.MethodGet, get, "")
	}
	for _, post := range []string{
		"/v1/tenants?tenant_id=fresh", t + ":suspend", t + ":resume", t + "/registries?registry_id=fresh", t + "/domains?domain_id=x.example.com",
		t + "/domains/x.example.com:verify", t + "/serviceAccounts/suite/keys",
	} {
		add(http.MethodPost, post, `{}`)
	}
	add(http.MethodPost, t+"/serviceAccounts?service_account_id=fresh", `{"role":"READER"}`)
	add(http.MethodPatch, t+"?update_mask=display_name", `{"display_name":"x"}`)
	add(http.MethodPatch, t+"/registries/main?update_mask=anonymous_pull", `{"anonymous_pull":true}`)
	add(http.MethodPatch, t+"/serviceAccounts/suite?update_mask=display_name", `{"display_name":"x"}`)
	for _, path := range []string{"", "/registries/main", "/registries/main/repositories/app", "/domains/x.example.com", "/serviceAccounts/suite", "/serviceAccounts/suite/keys/key"} {
		add(http.MethodDelete, t+path, "")
	}
	return all
}

// at is the repository under another host.
func (o *outage) at(r repository, host string) repository {
	r.base = o.w.registry(host)
	return r
}

// wantDown asks everything at once and fails the test unless each answer is 503
// with Retry-After, within the limit.
func (o *outage) wantDown(t *testing.T, limit time.Duration) {
	t.Helper()
	var all sync.WaitGroup
	ask := func(what string, r repository, q request) {
		all.Go(func() {
			began := time.Now()
			a, err := r.try(q)
			took := time.Since(began)
			switch {
			case err != nil:
				t.Errorf("%s: %s %s: %v", what, q.method, q.target, err)
			case a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.header.Get("WWW-Authenticate") != "":
				t.Errorf("%s: %s: %d, Retry-After %q: %s", what, a.what, a.status, a.header.Get("Retry-After"), clip(string(a.body)))
			case took > limit:
				t.Errorf("%s: %s: it took %s", what, a.what, took)
			}
		})
	}
	for _, q := range o.dataRequests(t) {
		ask("with a password", o.basic, q)
		ask("with a token", o.token, q)
		ask("at a host that is not remembered", o.at(o.basic, lateHost), q)
		ask("at a host that no one has", o.at(o.basic, "nobody."+lateHost), q)
	}
	ask("login", o.basic, request{method: http.MethodGet, target: "/token?scope=repository:app:pull"})
	ask("login", o.basic, request{method: http.MethodGet, target: "/v2/"})
	ask("anonymous token", o.at(o.basic, lateHost), request{method: http.MethodGet, target: "/token"})
	for _, n := range o.w.nodes {
		if n.config.Runs(boot.AdminService) {
			operator := repository{deployment: deployment{base: "http://" + n.at("admin_addr"), client: http.DefaultClient}}
			for _, q := range adminRequests() {
				ask("operator", operator, q)
			}
		}
	}
	all.Wait()
}

// wantBack fails the test unless everything is there again soon, and as it was.
func (o *outage) wantBack(t *testing.T) {
	t.Helper()
	await.True(t, 5*time.Second, "the service to be back", func() bool {
		a, err := o.basic.try(request{method: http.MethodGet, target: o.basic.at("manifests/latest")})
		return err == nil && a.status == http.StatusOK
	})
	for _, r := range []repository{o.basic, o.token} {
		r.wantManifest(t, "latest", o.image)
		r.get(t, o.location).want(t, http.StatusNoContent).wantHeader(t, "Range", "0-4")
	}
	o.basic.push(t, o.basic.image(t, nil), "later")
	o.at(o.basic, lateHost).get(t, "/v2/_catalog").want(t, http.StatusOK)
	o.w.admin(t, http.MethodGet, "/v1/tenants/outage", nil).want(t, http.StatusOK)
}

// streaming begins to pull the large blob; the function that it returns reads
// the rest.
func (o *outage) streaming(t *testing.T) func(t *testing.T) {
	t.Helper()
	d := digest.FromBytes(o.large)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, o.basic.base+o.basic.at("blobs/%s", d), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := o.basic.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	if _, err := io.CopyN(hash, res.Body, 64<<10); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v", res.StatusCode, err)
	}
	return func(t *testing.T) {
		t.Helper()
		defer res.Body.Close()
		if _, err := io.Copy(hash, res.Body); err != nil || !bytes.Equal(hash.Sum(nil), sha256Of(o.large)) {
			t.Errorf("a pull that was in flight is broken: %v", err)
		}
	}
}

func sha256Of(content []byte) []byte {
	sum := sha256.Sum256(content)
	return sum[:]
}

// TestR18_PostgresIsGone takes the database away: no answer is to say that
// something is not there, or that someone may not have it.
func TestR18_PostgresIsGone(t *testing.T) {
	db := testserver.StartPostgres(t)
	w := startOneWith(t, serversWith(t, db, ""), outageSeed)
	o := newOutage(t, w)

	rest := o.streaming(t)
	db.StopImmediate()
	o.wantDown(t, 2*time.Second)
	rest(t)
	<-time.After(tenant.CacheTTL) // until no host is remembered
	o.wantDown(t, 2*time.Second)
	db.Start()
	o.wantBack(t)

	let := admission(t, db, "reject")
	o.wantDown(t, 2*time.Second)
	let()
	o.wantBack(t)
	w.stop(t)
	w.wantSound(t)
}

// TestR18_PostgresIsGoneForSplitServices does so where calls are handed on.
func TestR18_PostgresIsGoneForSplitServices(t *testing.T) {
	db := testserver.StartPostgres(t)
	w := startSplitWith(t, serversWith(t, db, ""), outageSeed)
	o := newOutage(t, w)
	db.StopImmediate()
	o.wantDown(t, 2*time.Second)
	db.Start()
	o.wantBack(t)
	w.stop(t)
	w.wantSound(t)
}

// admission makes the server refuse all logins to its database, until the
// function that it returns is called.
func admission(t *testing.T, db *testserver.PostgresServer, how string) func() {
	t.Helper()
	file := filepath.Join(db.Dir(), "pg_hba.conf")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		db.Exec(`SELECT pg_reload_conf()`)
	}
	set(fmt.Appendf(nil, "host berth all 127.0.0.1/32 %s\nhost all all 127.0.0.1/32 trust\n", how))
	db.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'berth'`)
	return func() { t.Helper(); set(before) }
}

// TestR19_PostgresHangs stops the server's processes: connections stay, and
// nothing answers.
func TestR19_PostgresHangs(t *testing.T) {
	const budget = 5*time.Second + 1500*time.Millisecond // of a statement, after waiting for a connection
	db := testserver.StartPostgres(t)
	w := startOneWith(t, serversWith(t, db, ""), outageSeed)
	o := newOutage(t, w)
	rest := o.streaming(t)
	db.Pause()
	o.wantDown(t, budget+time.Second)
	rest(t)
	db.Resume()
	o.wantBack(t)
	w.stop(t)
	w.wantSound(t)
}

// tcpGate lets connections through to a server while it is open.
type tcpGate struct {
	to string
	l  net.Listener

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
}

func newGate(t *testing.T, to string) *tcpGate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &tcpGate{to: to, l: l, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { _ = l.Close(); g.set(true) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go g.carry(conn)
		}
	}()
	return g
}

func (g *tcpGate) carry(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer to.Close()
	if !g.add(from, to) {
		return
	}
	go func() {
		_, err := io.Copy(to, from)
		_ = errors.Join(err, to.Close())
	}()
	_, _ = io.Copy(from, to)
}

func (g *tcpGate) add(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		g.conns[c] = true
	}
	return !g.shut
}

// set shuts the gate, which cuts what goes through it, or opens it.
func (g *tcpGate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	for c := range g.conns {
		_ = c.Close()
	}
	clear(g.conns)
}

// TestR28_ObjectStoreIsGone cuts the deployment off its object store. What needs
// no bytes continues.
func TestR28_ObjectStoreIsGone(t *testing.T) {
	var gate *tcpGate
	w := startOnServers(t, outageSeed, "", func(c *boot.Config) {
		u, err := url.Parse(c.Blobs.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		endpoint, err := url.Parse(q.Get("endpoint"))
		if err != nil {
			t.Fatal(err)
		}
		gate = newGate(t, endpoint.Host)
		q.Set("endpoint", "http://"+gate.l.Addr().String())
		u.RawQuery = q.Encode()
		c.Blobs = boot.NewURL(u.String())
	})
	o := newOutage(t, w)
	content := []byte("new content")
	r := o.basic
	blob := headers("Content-Type", typeBytes)
	another := path(t, r.start(t, "").location(t))
	gate.set(true)
	var all sync.WaitGroup
	for _, q := range []request{
		{method: http.MethodGet, target: r.at("blobs/%s", o.layer)},
		{method: http.MethodPost, target: r.at("blobs/uploads/?digest=%s", digest.FromBytes(content)), header: blob, body: content},
		{method: http.MethodPatch, target: another, header: blob, body: content},
		{method: http.MethodPut, target: withQuery(t, o.location, "digest", digest.FromString("begun").String()), header: blob},
	} {
		all.Go(func() {
			began := time.Now()
			a, err := r.try(q)
			if err != nil {
				t.Errorf("%s %s: %v", q.method, q.target, err)
			} else if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", a.what, a.status, clip(string(a.body)))
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%s: it took %s", q.target, took)
			}
		})
	}
	all.Wait()
	r.wantManifest(t, "latest", o.image)
	r.head(t, r.at("blobs/%s", o.layer)).want(t, http.StatusOK)
	r.putManifest(t, "while it is gone", o.image).want(t, http.StatusBadRequest)
	r.putManifest(t, "meanwhile", o.image).want(t, http.StatusCreated)
	gate.set(false)
	r.get(t, r.at("blobs/%s", o.layer)).want(t, http.StatusOK)
	r.finish(t, o.location, digest.FromString("begun"), nil).want(t, http.StatusCreated)
	r.wantBlob(t, digest.FromString("begun"), []byte("begun"))
	w.stop(t)
	w.wantSound(t)
}
