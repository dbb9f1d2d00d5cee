package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/internal/server"
	"github.com/berth-registry/berth/tools/testserver"
)

// What the cluster's nodes share, and its one tenant.
const (
	clusterToken = "operator-of-a-cluster-that-lives-as-long-as-this-run"
	tenant       = "crash"
)

// cluster is two nodes on Postgres and S3. One reaches them through proxies and
// is the victim; the other is its heir and never dies. Janitors are processes of
// their own, with proxies of their own.
type cluster struct {
	*watch
	srv, heir *server.Server
	clients   map[*server.Server]*ociclient.Client
	admins    map[*ociclient.Client]*ociclient.Client
	database  string
	janitor   servers // as janitors reach them
	proxies   []interface{ close() error }
	down      bool // the victim is dead

	mu       sync.Mutex
	cleaning *server.Process // the janitor that is watched instead of the victim
}

// servers are the URLs of what a node keeps its data in.
type servers struct{ meta, blobs string }

func newCluster(berth, dir string, w *watch) (*cluster, error) {
	ctx := context.Background()
	c := &cluster{watch: w, clients: map[*server.Server]*ociclient.Client{}, admins: map[*ociclient.Client]*ociclient.Client{}}
	var direct servers
	var err error
	if direct.meta, err = testserver.NewPostgres(ctx); err != nil {
		return nil, err
	}
	if direct.blobs, err = testserver.NewS3(); err != nil {
		return nil, err
	}
	c.database = direct.meta
	through, err := c.proxy(direct, c.cutVictim)
	if err != nil {
		return nil, err
	}
	if c.janitor, err = c.proxy(direct, c.cutJanitor); err != nil {
		return nil, err
	}
	if c.srv, err = newNode(berth, filepath.Join(dir, "victim"), through); err != nil {
		return nil, err
	}
	c.heir, err = newNode(berth, filepath.Join(dir, "heir"), direct)
	return c, err
}

func newNode(berth, dir string, s servers) (*server.Server, error) {
	if err := os.Mkdir(dir, 0o750); err != nil {
		return nil, err
	}
	return server.New(berth, dir, "BERTH_META="+s.meta, "BERTH_BLOBS="+s.blobs, "BERTH_OPERATOR_TOKEN="+clusterToken,
		// A janitor of their own would take garbage away while it is being counted.
		"BERTH_SERVICES=registry,upload,token,admin", "BERTH_INTERNAL_KEY="+clusterToken, "BERTH_SECRET_KEY="+clusterToken)
}

// proxy puts proxies before the servers.
func (c *cluster) proxy(direct servers, cut cut) (servers, error) {
	p, meta, err := newPostgresProxy(direct.meta, cut)
	if err != nil {
		return servers{}, err
	}
	s, blobs, err := newS3Proxy(direct.blobs, cut)
	if err != nil {
		return servers{}, errors.Join(err, p.close())
	}
	c.proxies = append(c.proxies, p, s)
	return servers{meta, blobs}, nil
}

// cutVictim kills the victim at its steps, unless a janitor is watched.
func (c *cluster) cutVictim(step string) bool {
	c.mu.Lock()
	idle := c.cleaning == nil
	c.mu.Unlock()
	return idle && c.reach(step) && c.srv.Process().Kill() == nil
}

func (c *cluster) cutJanitor(step string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reach(step) && c.cleaning.Kill() == nil
}

func (c *cluster) start(ctx context.Context) error {
	if err := c.heir.Start(ctx); err != nil {
		return err
	}
	if err := c.srv.Start(ctx); err != nil {
		return err
	}
	if err := c.makeClock(ctx); err != nil {
		return err
	}
	var made struct{}
	if err := c.heir.Call(ctx, clusterToken, http.MethodPost, "/v1/tenants?tenant_id="+tenant, `{}`, &made); err != nil {
		return err
	}
	secret, err := c.heir.AccountOf(ctx, clusterToken, tenant, account)
	for _, s := range []*server.Server{c.srv, c.heir} {
		c.clients[s] = newClient(s.Data, tenant+".localhost", secret)
		c.admins[c.clients[s]] = newAdmin(s, tenant, clusterToken, c.clients[s])
	}
	h := c.victim().HTTP // the way of both
	h.Transport = mortal{h.Transport, c.cutVictim}
	return err
}

// makeClock makes the clock that janitors find before the schema's own.
const makeClock = `
CREATE SCHEMA ahead;
CREATE FUNCTION ahead.berth_now() RETURNS timestamptz LANGUAGE sql STABLE AS
  'SELECT now() + current_setting(''crashrun.ahead'')::interval'`

func (c *cluster) makeClock(ctx context.Context) error {
	db, err := pgx.Connect(ctx, c.database)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, makeClock)
	return errors.Join(err, db.Close(ctx))
}

func (c *cluster) close() error {
	errs := []error{c.heir.Kill()}
	if !c.down {
		errs = append(errs, c.srv.Kill())
	}
	for _, p := range c.proxies {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

func (c *cluster) log() string               { return c.srv.LogTail() }
func (c *cluster) victim() *ociclient.Client { return c.clients[c.srv] }

func (c *cluster) admin(of *ociclient.Client) *ociclient.Client { return c.admins[of] }

func (c *cluster) stop() error {
	c.down = true
	return c.srv.Stop()
}

func (c *cluster) kill() error {
	c.down = true
	return c.srv.Kill()
}

func (c *cluster) revive(ctx context.Context) error {
	err := c.srv.Start(ctx)
	c.down = err != nil
	return err
}

// survive continues at the heir, while the victim stays dead, or at the victim,
// once it runs again.
func (c *cluster) survive(ctx context.Context, heir, inspect bool) (*ociclient.Client, error) {
	if err := c.kill(); err != nil {
		return nil, err
	}
	if inspect {
		if said, err := c.fsck(ctx, false); err != nil {
			return nil, errors.Join(err, errors.New(said))
		}
	}
	if heir {
		return c.clients[c.heir], nil
	}
	return c.victim(), c.revive(ctx)
}

func (c *cluster) whole(ctx context.Context) error {
	if !c.down {
		return nil
	}
	return c.revive(ctx)
}

func (c *cluster) fsck(ctx context.Context, deep bool) (string, error) {
	args := []string{"fsck"}
	if deep {
		args = append(args, "--deep")
	}
	return c.heir.Run(ctx, args...)
}

func (c *cluster) ask(ctx context.Context, path string, answer any) error {
	return c.heir.Call(ctx, clusterToken, http.MethodGet, "/v1/tenants/"+tenant+"/"+path, "", answer)
}

// aside needs no care: nodes may run beside a janitor.
func (c *cluster) aside(_ context.Context, do func() error) error { return do() }

func (c *cluster) clean(_ context.Context, nth int) error {
	cmd, err := janitorCommand(nth, "-meta", c.janitor.meta, "-blobs", c.janitor.blobs)
	if err != nil {
		return err
	}
	c.mu.Lock()
	p, err := server.Begin(cmd, nil)
	c.cleaning = p
	c.mu.Unlock()
	if err != nil {
		return err
	}
	err = c.endOf(p)
	c.mu.Lock()
	c.cleaning = nil
	c.mu.Unlock()
	return err
}
