package assemble_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/assemble"
)

// embedded is a whole deployment that runs in the test's own process, on free
// ports and a directory of its own.
type embedded struct {
	config boot.Config
	addrs  map[string]net.Addr // by setting
	client *http.Client        // anonymous; reaches the data port under every host name

	cancel context.CancelFunc
	ended  chan error
}

// accountSecret is the content of the file "secret" beside the seed file.
const accountSecret = "a secret that only these tests know: 8c1f"

// startEmbedded starts one with the seed file, and returns when it serves. It
// is stopped at the end of the test.
func startEmbedded(t *testing.T, seed string) *embedded {
	t.Helper()
	c := boot.Default()
	c.DataDir = filepath.Join(t.TempDir(), "data")
	c.Seed = filepath.Join(t.TempDir(), "seed.yaml")
	for file, text := range map[string]string{c.Seed: seed, filepath.Join(filepath.Dir(c.Seed), "secret"): accountSecret} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, addr := range []*string{&c.DataAddr, &c.AdminAddr, &c.AdminGRPCAddr, &c.OpsAddr} {
		*addr = "127.0.0.1:0"
	}
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := assemble.New(ctx, c, log)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	e := &embedded{config: c, cancel: cancel, ended: make(chan error, 1)}
	ready := make(chan map[string]net.Addr, 1)
	d.OnReady(func(addrs map[string]net.Addr) { ready <- addrs })
	go func() { e.ended <- d.Run(ctx) }()
	select {
	case e.addrs = <-ready:
	case err := <-e.ended:
		cancel()
		t.Fatalf("the deployment did not start: %v", err)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", e.addrs["data_addr"].String())
		},
		MaxIdleConnsPerHost: 32,
		DisableCompression:  true, // what is served is to be seen as it is
	}
	e.client = &http.Client{Transport: transport}
	t.Cleanup(func() { e.stop(t) })
	return e
}

// registry is the URL of the registry at the host name. Only e's client
// reaches it.
func (e *embedded) registry(host string) string {
	_, port, _ := net.SplitHostPort(e.addrs["data_addr"].String())
	return "http://" + net.JoinHostPort(host, port)
}

// as is the client of a service account whose key has accountSecret.
func (e *embedded) as(account string) *http.Client {
	return &http.Client{Transport: authorized{e.client.Transport, account}}
}

// authorized sends the credential of an account along.
type authorized struct {
	http.RoundTripper
	account string
}

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(a.account, accountSecret)
	return a.RoundTripper.RoundTrip(r)
}

// stop ends the deployment in order, once however often it is called.
func (e *embedded) stop(t *testing.T) {
	t.Helper()
	if e.cancel == nil {
		return
	}
	e.client.CloseIdleConnections()
	e.cancel()
	e.cancel = nil
	if err := <-e.ended; err != nil {
		t.Errorf("the deployment did not stop in order: %v", err)
	}
}

// wantSound fails the test if the directory of a stopped deployment breaks an
// invariant of the storage protocol.
func (e *embedded) wantSound(t *testing.T) {
	t.Helper()
	sum, err := assemble.Check(context.Background(), e.config, true, func(int64) {}, func(f meta.Finding) {
		t.Errorf("fsck: %+v", f)
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Objects == 0 {
		t.Error("fsck examined no object")
	}
}
