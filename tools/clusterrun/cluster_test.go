package clusterrun

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/internal/server"
	"github.com/berth-registry/berth/tools/internal/workload"
	"github.com/berth-registry/berth/tools/testserver"
)

// The tenant of the clients and how they call themselves.
const (
	tenant  = "acme"
	host    = tenant + ".localhost"
	account = "clusterrun"
)

// secret is the operator token and the internal key.
const secret = "0123456789abcdef0123456789abcdef"

// The layouts of a cluster: which services each of its nodes runs.
var (
	whole = []string{"", "", ""}
	split = []string{"registry", "registry", "registry", "upload", "upload", "upload", "token", "token", "admin,janitor"}
)

// cluster is a deployment of processes with its clients.
type cluster struct {
	*edge
	t       *testing.T
	rng     *rand.Rand
	world   *workload.World
	key     string // of the account
	clients int    // made so far
	charged int64  // for blobs that the world does not know
}

// largeOneOf is how rare blobs of several parts are.
const largeOneOf = 24

// newCluster starts nodes of a layout on a durable Postgres and S3. The settings
// are for all of them.
func newCluster(t *testing.T, layout []string, settings ...string) *cluster {
	t.Helper()
	return clusterOn(t, layout, append(settings, "BERTH_META="+testserver.StartPostgres(t).URL())...)
}

// clusterOn is newCluster with a setting that names the database.
func clusterOn(t *testing.T, layout []string, settings ...string) *cluster {
	t.Helper()
	seed := dice.Seed(t)
	c := &cluster{t: t, rng: rand.New(rand.NewPCG(seed, 1<<32)), world: workload.New(seed, largeOneOf)}
	settings = append([]string{"BERTH_BLOBS=" + testserver.S3(t), "BERTH_OPERATOR_TOKEN=" + secret, "BERTH_INTERNAL_KEY=" + secret, "BERTH_SECRET_KEY=" + secret}, settings...)
	dir := t.TempDir()
	var nodes []*node
	for i, services := range layout {
		srv, err := server.New(binary, dir, append(settings, "BERTH_SERVICES="+services)...)
		c.must(err)
		srv.Log = filepath.Join(dir, strconv.Itoa(i)+".log")
		n := &node{Server: srv}
		if services != "" {
			n.services = strings.Split(services, ",")
		}
		nodes = append(nodes, n)
	}
	c.edge = newEdge(&record{tally: tally{refused: map[int]int{}}}, nodes...)
	c.startAll()
	admin := c.admin()
	c.must(admin.Call(t.Context(), secret, http.MethodPost, "/v1/tenants?tenant_id="+tenant, `{}`, &struct{}{}))
	var err error
	c.key, err = admin.AccountOf(t.Context(), secret, tenant, account)
	c.must(err)
	return c
}

// startAll starts all nodes at once, on a database that none has seen.
func (c *cluster) startAll() {
	c.t.Helper()
	var starts sync.WaitGroup
	errs := make([]error, len(c.nodes))
	for i, n := range c.nodes {
		starts.Go(func() {
			if err := n.Start(c.t.Context()); err != nil {
				errs[i] = fmt.Errorf("%w; end of its log:\n%s", err, n.LogTail())
			}
		})
	}
	starts.Wait()
	c.must(errors.Join(errs...))
	for _, n := range c.nodes {
		c.t.Cleanup(func() {
			if c.t.Failed() {
				c.t.Logf("end of the log of %s:\n%s", n.Data, n.LogTail())
			}
			_ = n.Kill() // a test that failed may have left it dead
		})
	}
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// admin is a node that runs the admin API.
func (c *cluster) admin() *node {
	for _, n := range c.nodes {
		if n.runs("admin") && !n.away.Load() {
			return n
		}
	}
	c.t.Fatal("no node runs the admin API")
	return nil
}

// oci is a client of the edge, or of one of the nodes.
func (c *cluster) oci(through http.RoundTripper) *ociclient.Client {
	return &ociclient.Client{
		Base: "http://edge", Host: host, User: account, Secret: c.key,
		HTTP: &http.Client{Timeout: 30 * time.Second, Transport: through},
	}
}

// only is the way to one node.
func (c *cluster) only(n *node) *ociclient.Client { return c.oci(newEdge(c.record, n)) }

// client makes another client of the load.
func (c *cluster) client(oci *ociclient.Client) *workload.Client {
	c.clients++
	return c.world.Client(c.clients, oci, impatient)
}

// impatient lets a client be impatient: Retry-After says a second.
func impatient(ctx context.Context) { _ = pause.For(ctx, 100*time.Millisecond) }

// between is a random time.
func (c *cluster) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.rng.Int64N(int64(most-least)+1))
}
