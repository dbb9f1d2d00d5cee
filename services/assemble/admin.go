package assemble

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/go-kit/kit/endpoint"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/services/admin"
	"github.com/berth-registry/berth/services/internal/promotion"
)

// admin builds the admin API, and applies the seed file through it.
func (b builder) admin(ctx context.Context) error {
	operatorToken, file, err := operatorToken(b.config)
	if err != nil {
		return err
	}
	b.OperatorToken = file
	// Any node continues a list that another one began.
	pageKey, err := hkdf.Key(sha256.New, []byte(operatorToken), nil, "page tokens", sha256.Size)
	if err != nil {
		return err
	}
	loginKey, err := hkdf.Key(sha256.New, []byte(operatorToken), nil, "logins of browsers", sha256.Size)
	if err != nil {
		return err
	}
	loginKeys, err := seal.New(loginKey)
	if err != nil {
		return err
	}
	service, err := admin.New(admin.Config{
		Store: b.stores.meta, Pattern: b.pattern, OperatorToken: operatorToken, PageKey: pageKey, Secrets: b.secrets, Chains: b.proxy, Promotions: promotion.New(b.stores.meta, b.stores.blobs, b.trust), Trust: b.trust,
		Lifetimes: lifetimes(b.config), Limits: limits(b.config), Passwords: b.passwords, Logins: b.logins, Issuers: b.issuers, LoginURL: b.config.LoginURL, LoginKeys: loginKeys, Uses: b.uses, Backups: b.adminBackups(), OwnHostsOnly: b.ownHostsOnly(),
	})
	if err != nil {
		return err
	}
	if n, err := service.Reseal(ctx); err != nil {
		b.Log.ErrorContext(ctx, "passwords of upstreams are not all kept with the new secret_key; leave old_secret_key as it is", "error", err)
	} else if n > 0 {
		b.Log.InfoContext(ctx, "passwords of upstreams are kept with the new secret_key now; old_secret_key can go once all nodes have it", "passwords", n)
	}
	if b.config.Seed != "" {
		if err := service.Apply(ctx, b.config.Seed); err != nil {
			return err
		}
	}
	around := append(slices.Clip(b.around), b.invalidateCaches)
	if b.config.Embedded() { // inside of invalidateCaches: a change is seen at once
		around = append(around, defaultSettler{b.config, b.stores.meta, b.Log}.afterUndelete)
	}
	b.warnOfAnonymous(ctx, service)
	server, err := admin.NewServer(service, admin.Options{
		Refusals: b.refused,
		Log:      b.Log, Tracer: b.Tracing, Metrics: b.web, Hosts: b.config.OperatorHosts(), Proxies: b.config.TrustedProxies, Middlewares: around,
		Ready: func(ctx context.Context) bool { return b.Health.Ready(ctx).Status == "ready" },
	})
	if err != nil {
		return err
	}
	certs, err := b.AdminTLS(b.config)
	if err != nil {
		return errors.Join(err, server.Close(ctx))
	}
	m := web.Middleware{
		Listener: "admin", Log: b.Log, Tracer: b.Tracing.Tracer("berth/admin"), Metrics: b.web,
		Scheme: "http", Proxies: b.config.TrustedProxies, Pace: b.pace, Pauses: b.pauses,
	}
	if certs != nil {
		m.Scheme = "https"
	}
	rest := boot.Listener{Setting: "admin_addr", Addr: b.config.AdminAddr}
	httpServer := web.NewServer(m.Wrap(server), b.Log)
	rest.Server = httpServer
	grpc := boot.Listener{Setting: "admin_grpc_addr", Addr: b.config.AdminGRPCAddr, Server: adminGRPC{server}}
	if certs != nil {
		rest.TLS = web.LogHandshakes(httpServer, certs, m)
		grpc.TLS = certs.Clone()
		grpc.TLS.NextProtos = []string{"h2"}
	}
	b.Listen(rest)
	b.Listen(grpc)
	return nil
}

// warnOfAnonymous names upstreams of the version before whose tenants have yet to
// say whether anyone gets what they give for their credential.
func (b builder) warnOfAnonymous(ctx context.Context, service *admin.Service) {
	named, count, err := service.Unchosen(ctx)
	if err != nil {
		b.Log.WarnContext(ctx, "whether upstreams have yet to choose serve_anonymous could not be found out", "error", err)
	}
	if count > 0 {
		b.Log.WarnContext(ctx, "callers who are not logged in get what these upstreams give for their credential, as before there was a choice; set serve_anonymous of each to true or false",
			"count", count, "upstreams", named)
	}
}

// invalidateCaches clears the caches of this process after a change by the admin API,
// and has the other processes clear theirs soon.
func (b builder) invalidateCaches(op string) endpoint.Middleware {
	return func(next endpoint.Endpoint) endpoint.Endpoint {
		if changesNoCache(op) {
			return next
		}
		return func(ctx context.Context, req any) (any, error) {
			answer, err := next(ctx, req)
			if mayHaveChanged(req, err) {
				b.clearCaches()
				b.shared.changes.Announce(ctx)
			}
			return answer, err
		}
	}
}

// ownAccount are the methods by which an account changes what is its own. What they end is
// looked up at each use or read as revoked (pkg/access), not remembered by hosts.
var ownAccount = []string{"CreateAccessToken", "DeleteAccessToken", "DeleteRefreshToken", "DeleteSession", "ChangePassword"}

// changesNoCache reports whether a method changes nothing that is remembered by hosts. Any
// account could else keep the caches of all tenants empty (contract row S88).
func changesNoCache(op string) bool {
	for _, reading := range []string{"Get", "List", "Resolve", "Refresh", "Test", "Promote"} {
		if strings.HasPrefix(op, reading) {
			return true
		}
	}
	return slices.Contains(ownAccount, op)
}

// mayHaveChanged says whether the call changed anything, for all that is known: a
// failure of Berth may have come after the commit. A refused call and one
// with validate_only clear no cache (contract row S88): else anyone with a key could
// keep all processes looking up again.
func mayHaveChanged(req any, err error) bool {
	if only, ok := req.(interface{ GetValidateOnly() bool }); ok && only.GetValidateOnly() {
		return false
	}
	return err == nil || fault.KindOf(err).Failure()
}

// adminGRPC is the gRPC side of the admin server as a listener's server. Its
// end is also the end of the REST side, which goes through it.
type adminGRPC struct{ *admin.Server }

func (a adminGRPC) Serve(l net.Listener) error         { return a.ServeGRPC(l) }
func (a adminGRPC) Shutdown(ctx context.Context) error { return a.Server.Close(ctx) }

func (a adminGRPC) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // without waiting
	return a.Server.Close(ctx)
}
