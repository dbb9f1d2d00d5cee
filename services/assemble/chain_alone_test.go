package assemble_test

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// notes is a log that a test reads while it is written.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// startTelling is startNode with a log that the test reads.
func startTelling(t *testing.T, c boot.Config) (*node, *notes) {
	t.Helper()
	log := &notes{}
	n, err := launchTelling(log, onFreePorts(c))
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() { n.stop(t) })
	return n, log
}

// TestChain_RegistryThatKnowsNoProxy has a registry process that was not told of
// a proxy service: what it hosts is served, and for the rest clients hear no more
// than that it is out, and the operator what to set.
func TestChain_RegistryThatKnowsNoProxy(t *testing.T) {
	up := testserver.StartScripted(t)
	c := servers(t, "")
	chained(&c)
	c.Services = []string{boot.AdminService, boot.UploadService, boot.TokenService}
	rest := startNode(t, seeded(t, c, chainSeed(up.URL(), up.Addr())))
	dead := testserver.FreeAddr(t)
	for name, at := range map[string]string{"not told": "", "told of one that is not there": "http://" + dead} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.Services = []string{boot.RegistryService}
			c.UploadURL = boot.NewURL("http://" + rest.at("internal_addr"))
			c.ProxyURL = boot.NewURL(at)
			n, log := startTelling(t, edited(t, c, nil))
			w := newWorld(t, n.at("data_addr"), n)
			img := ocitest.NewImage(6, 1000)
			mine := w.repository(devHost, "suite", "team/app")
			mine.pushImage(t, img, "1")
			mine.wantImage(t, "1", img)
			r := w.repository(devHost, "reader", testserver.ScriptedName)
			for _, target := range []string{
				r.at("manifests/1"), r.at("blobs/%s", up.Image.Config.Digest), r.at("tags/list"), "/v2/proxy/ghcr.io/library/app/manifests/1",
			} {
				a, err := r.try(request{method: http.MethodGet, target: target})
				if err != nil {
					t.Fatal(err)
				}
				a.want(t, http.StatusServiceUnavailable)
				for _, secret := range []string{"proxy_url", dead, "127.0.0.1", "5091"} {
					if strings.Contains(string(a.body), secret) {
						t.Errorf("%s tells of %s: %s", a.what, secret, a.body)
					}
				}
			}
			want := "set proxy_url"
			if at != "" {
				want = dead
			}
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log says nothing of %q:\n%s", want, log)
			}
		})
	}
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// TestChain_NodesThatCannotReachEachOther tells an operator at the start that
// what nodes share by Redis is less than it could be, and of what to set.
func TestChain_NodesThatCannotReachEachOther(t *testing.T) {
	c := servers(t, testserver.StartRedis(t).URL())
	for name, o := range map[string]struct {
		edit edit
		says bool
	}{
		"on a loopback address": {func(*boot.Config) {}, true},
		"without a key":         {func(c *boot.Config) { c.InternalKey = boot.Secret{} }, true},
		"told how":              {func(c *boot.Config) { *c = reachable(t, *c) }, false},
		"without Redis":         {func(c *boot.Config) { c.Redis = boot.URL{} }, false},
		"without the service": {func(c *boot.Config) {
			c.Services = []string{boot.RegistryService}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			n, log := startTelling(t, edited(t, c, []edit{o.edit}))
			n.stop(t)
			if said := strings.Count(log.String(), "internal_url"); said > 1 || (said == 1) != o.says {
				t.Errorf("the log names internal_url %d times:\n%s", said, log)
			}
		})
	}
}
