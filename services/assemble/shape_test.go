package assemble_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) {
	if os.Getenv(envNode) != "" {
		if err := runNode(); err != nil {
			panic(err)
		}
		return
	}
	testserver.Main(m)
}

// world is a whole deployment in one of its shapes.
type world struct {
	nodes  []*node
	data   string       // address of the data port
	client *http.Client // anonymous; reaches the data port under every host name
}

// accountSecret is the content of the file "secret" beside the seed file.
const accountSecret = "a secret that only these tests know: 8c1f"

// An edit changes the configuration that a deployment of its shape has. What it
// makes of it need not be one that is allowed.
type edit func(*boot.Config)

// abrupt makes nodes cut all connections when they stop.
func abrupt(c *boot.Config) { c.ShutdownTimeout = time.Millisecond }

// edited is a good configuration after the edits.
func edited(t *testing.T, c boot.Config, edits []edit) boot.Config {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		e(&c)
	}
	return c
}

// loopback is the network of the tests: of the edge, and of upstreams.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// chained lets upstreams be in the network of the tests.
func chained(c *boot.Config) { c.UpstreamAllow = []boot.Network{{Prefix: loopback[0]}} }

// secret is the operator token, and the internal and secret key of a cluster.
const secret = "0123456789abcdef0123456789abcdef"

// startEmbedded starts one process on one directory.
func startEmbedded(t *testing.T, seed string, edits ...edit) *world {
	t.Helper()
	c := seeded(t, boot.Default(), seed)
	c.DataDir = filepath.Join(t.TempDir(), "data")
	c.OperatorToken = boot.NewSecret(secret)
	n := startNode(t, edited(t, c, edits))
	return newWorld(t, n.at("data_addr"), n)
}

// servers is the configuration of a cluster's nodes: a database and a bucket
// of its own, and the Redis at the URL, if there is one.
func servers(t *testing.T, redis string) boot.Config {
	t.Helper()
	return serversWith(t, testserver.StartPostgres(t), redis)
}

func serversWith(t *testing.T, db *testserver.PostgresServer, redis string) boot.Config {
	t.Helper()
	c := boot.Default()
	c.DataDir = ""
	c.Meta = boot.NewURL(db.URL())
	c.Blobs = boot.NewURL(testserver.S3(t))
	c.Redis = boot.NewURL(redis)
	c.OperatorToken, c.InternalKey, c.SecretKey = boot.NewSecret(secret), boot.NewSecret(secret), boot.NewSecret(secret)
	return c
}

// startOnServers starts one process on servers.
func startOnServers(t *testing.T, seed, redis string, edits ...edit) *world {
	t.Helper()
	return startOneWith(t, servers(t, redis), seed, edits...)
}

func startOneWith(t *testing.T, c boot.Config, seed string, edits ...edit) *world {
	t.Helper()
	n := startNode(t, edited(t, seeded(t, c, seed), edits))
	return newWorld(t, n.at("data_addr"), n)
}

// startWhole starts three processes on servers, each of which runs all services,
// behind an edge.
func startWhole(t *testing.T, seed, redis string, edits ...edit) *world {
	t.Helper()
	c := servers(t, redis)
	c.TrustedProxies = loopback
	w, e := &world{}, &edge{}
	for i := range 3 {
		own := c
		if i == 0 {
			own = seeded(t, c, seed)
		}
		n := startNode(t, edited(t, reachable(t, own), edits))
		w.nodes = append(w.nodes, n)
		for _, service := range []*turn{&e.registry, &e.upload, &e.token} {
			service.add(n)
		}
	}
	return newWorld(t, e.serve(t), w.nodes...)
}

// startSplit starts every service as a process of its own on servers, those of
// the data port three times behind an edge. Two of three uploads go to the
// upload service by the edge's rule, the third through a registry. Each registry
// asks a proxy service of its own.
func startSplit(t *testing.T, seed, redis string, edits ...edit) *world {
	t.Helper()
	return startSplitWith(t, servers(t, redis), seed, edits...)
}

func startSplitWith(t *testing.T, c boot.Config, seed string, edits ...edit) *world {
	t.Helper()
	c.TrustedProxies = loopback
	w := &world{}
	run := func(c boot.Config, service string) *node {
		t.Helper()
		c.Services = []string{service}
		n := startLasting(t, edited(t, c, edits))
		w.nodes = append(w.nodes, n)
		return n
	}
	run(seeded(t, c, seed), boot.AdminService)
	run(c, boot.JanitorService)
	e := &edge{}
	for i := range 3 {
		up, tokens := run(c, boot.UploadService), run(c, boot.TokenService)
		calling := c
		calling.UploadURL = internalURL(c, up.at("internal_addr"))
		calling.TokenURL = internalURL(c, tokens.at("internal_addr"))
		calling.ProxyURL = run(reachable(t, c), boot.ProxyService).config.InternalAt
		registry := run(calling, boot.RegistryService)
		e.registry.add(registry)
		e.upload.add(up)
		e.token.add(tokens)
		if i == 0 {
			e.upload.add(registry)
			e.token.add(registry)
		}
	}
	return newWorld(t, e.serve(t), w.nodes...)
}

// seeded adds the seed file to the configuration of a node.
func seeded(t *testing.T, c boot.Config, seed string) boot.Config {
	t.Helper()
	dir := t.TempDir()
	c.Seed = filepath.Join(dir, "seed.yaml")
	for file, text := range map[string]string{
		c.Seed: seed, filepath.Join(dir, "secret"): accountSecret, filepath.Join(dir, "upstream-password"): testserver.RegistryPassword,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func newWorld(t *testing.T, data string, nodes ...*node) *world {
	t.Helper()
	return &world{nodes: nodes, data: data, client: clientOf(t, data)}
}

// clientOf reaches the data port at the address under every host name.
func clientOf(t *testing.T, data string) *http.Client {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", data)
		},
		MaxIdleConnsPerHost: 32,
		DisableCompression:  true, // what is served is to be seen as it is
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// only are the processes that run the service and no other.
func (w *world) only(service string) []*node {
	var nodes []*node
	for _, n := range w.nodes {
		if slices.Equal(n.config.Services, []string{service}) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// through is the same deployment as those see it who reach one node of it.
func (w *world) through(t *testing.T, n *node) *world {
	t.Helper()
	return newWorld(t, n.at("data_addr"), w.nodes...)
}

// repository is a repository of the registry at the host, as the account sees
// it.
func (w *world) repository(host, account, name string) repository {
	return repository{deployment{base: w.registry(host), client: w.as(account)}, name}
}

// registry is the URL of the registry at the host name. Only w's client
// reaches it.
func (w *world) registry(host string) string {
	_, port, _ := net.SplitHostPort(w.data)
	return "http://" + net.JoinHostPort(host, port)
}

// as is the client of a service account whose key has accountSecret.
func (w *world) as(account string) *http.Client {
	return &http.Client{Transport: authorized{w.client.Transport, account, accountSecret}}
}

// authorized sends the credential of an account along.
type authorized struct {
	http.RoundTripper
	account, secret string
}

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(a.account, a.secret)
	return a.RoundTripper.RoundTrip(r)
}

// stop ends all nodes in order.
func (w *world) stop(t *testing.T) {
	t.Helper()
	w.client.CloseIdleConnections()
	for _, n := range w.nodes {
		n.stop(t)
	}
}

// wantSound fails the test if what a stopped deployment keeps breaks an
// invariant of the storage protocol.
func (w *world) wantSound(t *testing.T) {
	t.Helper()
	sum, err := assemble.Check(context.Background(), w.nodes[0].config, true, func(int64) {}, func(f meta.Finding) {
		t.Errorf("fsck: %+v", f)
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Objects == 0 {
		t.Error("fsck examined no object")
	}
}
