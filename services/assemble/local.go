// Package assemble builds the services from their parts. It alone knows which
// implementation each part has; no service asks.
package assemble

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/go-kit/kit/endpoint"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/admin"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/janitor"
	"github.com/berth-registry/berth/services/registry"
	"github.com/berth-registry/berth/services/token"
	"github.com/berth-registry/berth/services/upload"
)

// Deployment is a process that is ready to run, and what its operator wants to
// know.
type Deployment struct {
	*boot.Process
	First         bool   // nothing was kept in the data directory before
	OperatorToken string // the file that holds it; empty when it came from the configuration
}

// issuer is what tokens call who signed them; the audience, which is the host,
// is what tells deployments and tenants apart.
const issuer = "berth"

// Local builds all services in one process on one directory: SQLite, files, and
// limits in memory. Running the process closes what was opened; so does a
// failure here.
func Local(ctx context.Context, c boot.Config, log *slog.Logger) (*Deployment, error) {
	p, err := boot.New(ctx, c, log)
	if err != nil {
		return nil, err
	}
	s, err := openStores(ctx, c)
	if err != nil {
		return nil, err
	}
	p.OnStop("stores", func(context.Context) error { return s.close() })
	d := &Deployment{Process: p}
	if err := d.build(ctx, c, s); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return d, nil
}

// builder holds what the ports of a deployment share.
type builder struct {
	*Deployment
	config  boot.Config
	stores  stores
	pattern tenant.Pattern
	sites   *tenant.Directory
	web     *web.Metrics
	around  []kit.Named // every operation
}

func (d *Deployment) build(ctx context.Context, c boot.Config, s stores) error {
	token, file, err := operatorToken(c)
	if err != nil {
		return err
	}
	d.OperatorToken = file
	if d.First, err = firstStart(ctx, c, s.meta); err != nil {
		return fmt.Errorf("set the first tenant up: %w", err)
	}
	if err := closeToStrangers(ctx, c, s.meta, d.Log); err != nil {
		return err
	}
	pattern, err := tenant.NewPattern(c.HostPattern, c.BaseDomain)
	if err != nil {
		return err
	}
	b := builder{
		Deployment: d, config: c, stores: s,
		pattern: pattern,
		sites:   tenant.NewDirectory(s.meta, pattern),
		web:     web.NewMetrics(d.Metrics),
		around:  []kit.Named{kit.Tracing(d.Tracing), kit.Metrics(d.Metrics)},
	}
	if err := b.data(ctx); err != nil {
		return err
	}
	if err := b.admin(ctx, token); err != nil {
		return err
	}
	b.janitor()
	d.Health.Add("meta", s.meta.Ping)
	d.Health.Add("blobs", func(ctx context.Context) error { return answers(ctx, s.blobs) })
	return nil
}

// data builds the data port: the front, and behind it registry, upload and
// token.
func (b builder) data(ctx context.Context) error {
	certs, err := b.TLS(b.config.TLSCerts)
	if err != nil {
		return err
	}
	keys, err := access.OpenKeys(ctx, b.stores.meta)
	if err != nil {
		return err
	}
	b.Go("signing keys", func(ctx context.Context) error {
		keys.Run(ctx, func(err error) { b.Log.WarnContext(ctx, "the signing keys could not be read again", "error", err) })
		return nil
	})
	meta, blobs := b.stores.meta, b.stores.blobs
	accounts := token.NewAuthenticator(meta, limit.NewLocal(token.MaxFailures, token.FailurePeriod))
	services := front.Services{
		Registry: registry.NewHandler(registry.New(registry.Config{Meta: meta, Blobs: blobs}), b.Log, b.around...),
		Upload:   upload.NewHandler(upload.New(upload.Config{Meta: meta, Blobs: blobs}), b.around...),
		Token:    token.NewHandler(token.New(accounts, access.NewIssuer(keys, issuer)), b.around...),
	}
	h := front.New(front.Config{Sites: b.sites, Tokens: access.NewVerifier(keys, issuer), Accounts: accounts, Log: b.Log}, services)
	wrapped := web.Front{
		Listener: "data", Log: b.Log, Tracer: b.Tracing.Tracer("berth/data"), Metrics: b.web,
		Scheme: b.config.Scheme(), Proxies: b.config.TrustedProxies, Fail: failed,
	}.Wrap(h)
	b.Listen(boot.Listener{Setting: "data_addr", Addr: b.config.DataAddr, TLS: certs, Server: web.NewServer(wrapped, b.Log)})
	return nil
}

// admin builds the admin API, and applies the seed file through it.
func (b builder) admin(ctx context.Context, operatorToken string) error {
	pageKey := make([]byte, 32) // page tokens need not outlive the process
	if _, err := rand.Read(pageKey); err != nil {
		return err
	}
	service, err := admin.New(admin.Config{Store: b.stores.meta, Pattern: b.pattern, OperatorToken: operatorToken, PageKey: pageKey})
	if err != nil {
		return err
	}
	if b.config.Seed != "" {
		if err := service.Apply(ctx, b.config.Seed); err != nil {
			return err
		}
	}
	server, err := admin.NewServer(service, admin.Options{Log: b.Log, Tracer: b.Tracing, Middlewares: append(slices.Clip(b.around), forget(b.sites))})
	if err != nil {
		return err
	}
	rest := web.Front{
		Listener: "admin", Log: b.Log, Tracer: b.Tracing.Tracer("berth/admin"), Metrics: b.web,
		Scheme: "http",
	}.Wrap(server)
	b.Listen(boot.Listener{Setting: "admin_addr", Addr: b.config.AdminAddr, Server: web.NewServer(rest, b.Log)})
	b.Listen(boot.Listener{Setting: "admin_grpc_addr", Addr: b.config.AdminGRPCAddr, Server: adminGRPC{server}})
	return nil
}

// janitor builds what removes garbage, beside the ports.
func (b builder) janitor() {
	j := janitor.New(janitor.Config{Meta: b.stores.meta, Blobs: b.stores.blobs, Log: b.Log, Middlewares: b.around})
	b.Go("janitor", func(ctx context.Context) error { j.Run(ctx); return nil })
}

// forget makes the data port see at once what an admin operation changed.
func forget(sites *tenant.Directory) kit.Named {
	return func(op string) endpoint.Middleware {
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			if strings.HasPrefix(op, "Get") || strings.HasPrefix(op, "List") {
				return next
			}
			return func(ctx context.Context, req any) (any, error) {
				defer sites.Clear()
				return next(ctx, req)
			}
		}
	}
}

// adminGRPC is the gRPC side of the admin server as a listener's server. Its
// end is also the end of the REST side, which goes through it.
type adminGRPC struct{ *admin.Server }

func (a adminGRPC) Serve(l net.Listener) error         { return a.ServeGRPC(l) }
func (a adminGRPC) Shutdown(ctx context.Context) error { return a.Server.Close(ctx) }

func (a adminGRPC) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // wait for nobody
	return a.Server.Close(ctx)
}

// failed answers a request whose handler panicked.
func failed(w http.ResponseWriter, r *http.Request) {
	ocihttp.WriteError(w, r, fault.New(fault.Internal, fault.InternalReason, "internal error"))
}

// answers says whether the store answers at all: that an object nobody has is
// missing is an answer.
func answers(ctx context.Context, b blob.Opener) error {
	if _, err := b.Stat(ctx, blob.Key{}); !errors.Is(err, blob.ErrMissing) {
		return err
	}
	return nil
}
