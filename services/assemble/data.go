package assemble

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"runtime"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/registry"
	"github.com/berth-registry/berth/services/token"
	"github.com/berth-registry/berth/services/upload"
)

// data builds the data port: the front, and behind it registry, proxy, upload
// and token, each in this process or at the end of a call to another.
func (b builder) data(ctx context.Context) error {
	certs, err := b.DataTLS(b.config)
	if err != nil {
		return err
	}
	tokens, err := b.tokenKeys(ctx)
	if err != nil {
		return err
	}
	services, err := b.services(tokens.issuer, b.logins)
	if err != nil {
		return err
	}
	b.internal(services)
	h := front.New(front.Config{Sites: b.sites, Tokens: tokens.verifier, Accounts: b.logins, Policies: b.policies, Log: b.Log, Origins: b.config.CORSOrigins, Refusals: b.refused, Mirrors: b.mirrors, Turns: b.turns(), Calls: b.callGate, Rates: b.rates, Pulls: b.pulls, Usage: b.usage}, services)
	m := web.Middleware{
		Listener: "data", Log: b.Log, Tracer: b.Tracing.Tracer("berth/data"), Metrics: b.web,
		Scheme: b.config.Scheme(), Proxies: b.config.TrustedProxies, Pace: b.pace, Pauses: b.pauses, Fail: writePanic,
	}
	server := web.NewServer(m.Wrap(h), b.Log)
	if certs != nil {
		certs = web.LogHandshakes(server, certs, m)
	}
	b.Listen(boot.Listener{Setting: "data_addr", Addr: b.config.DataAddr, TLS: certs, Server: server})
	return nil
}

// turns shares the processors of a process that does all the work. Where Postgres
// does it, tenants share the connections to that.
func (b builder) turns() *front.Turns {
	if !b.config.Embedded() {
		return nil
	}
	turns := front.NewTurns(max(2, runtime.GOMAXPROCS(0)))
	b.Metrics.MustRegister(queue("turns", turns.Waiting))
	return turns
}

// services are the handlers of the data port.
func (b builder) services(tokens *access.Issuer, accounts *token.Authenticator) (front.Services, error) {
	meta, blobs := b.stores.meta, b.stores.blobs
	s := front.Services{Registry: front.NotConfigured(boot.RegistryService, "services")}
	var err error
	if s.Proxy, err = b.proxyHandler(); err != nil {
		return s, err
	}
	if b.config.Runs(boot.RegistryService) {
		s.Registry = registry.NewHandler(registry.New(registry.Config{Meta: meta, Blobs: blobs, Log: b.Log, Topologies: b.topologies, Verify: b.config.VerifyPulls, Pulls: b.recorder, PullRules: b.pullRules}), s.Proxy, b.around...)
	}
	if b.config.Runs(boot.UploadService) {
		s.Upload = upload.NewHandler(upload.New(upload.Config{Meta: meta, Blobs: blobs, Topologies: b.topologies}), b.around...)
	} else if s.Upload, err = b.remoteService(boot.UploadService, "upload_url", b.config.UploadURL); err != nil {
		return s, err
	}
	if b.config.Runs(boot.TokenService) {
		s.Token = token.NewHandler(token.New(accounts, meta, b.policies, tokens), b.around...)
	} else if s.Token, err = b.remoteService(boot.TokenService, "token_url", b.config.TokenURL); err != nil {
		return s, err
	}
	return s, nil
}

// remoteService is the handler of a service that this process does not run.
func (b builder) remoteService(service, setting string, at boot.URL) (http.Handler, error) {
	if at.IsZero() {
		return front.NotConfigured(service, setting), nil
	}
	u, err := url.Parse(at.Reveal())
	if err != nil {
		return nil, err
	}
	return front.Remote{Service: service, URL: u, Calls: b.calls, Log: b.Log, DialTLS: b.dialInternal()}.Handler(), nil
}

// internal builds the listener for calls from processes that do not run what
// this one runs, or want what it is fetching.
func (b builder) internal(s front.Services) {
	if !b.config.Joined() {
		return
	}
	m := web.Middleware{
		Listener: "internal", Log: b.Log, Tracer: b.Tracing.Tracer("berth/internal"), Metrics: b.web,
		Scheme: "http", Peers: true, Pace: b.pace, Pauses: b.pauses, Fail: writePanic,
	}
	server := web.NewServer(m.Wrap(b.withFlights(front.NewInternal(b.calls, b.policies, b.Log, s, b.callGate, b.rates, b.refused))), b.Log)
	l := boot.Listener{Setting: "internal_addr", Addr: b.config.InternalAddr, Server: server}
	if b.tls != nil {
		l.TLS = web.LogHandshakes(server, b.tls.Server(), m)
	}
	b.Listen(l)
}

// dialInternal connects to other processes by TLS; nil where calls are not made so.
func (b builder) dialInternal() func(ctx context.Context, network, addr string) (net.Conn, error) {
	if b.tls == nil {
		return nil
	}
	return b.tls.Dial
}

// relieve ends the transfer that has paused for longest where connections run
// short.
func (b builder) relieve() bool {
	relieved := b.pauses.Relieve()
	if relieved {
		b.Log.Warn("connections run short; the transfer that has paused for longest is ended")
	}
	return relieved
}

// writePanic answers a request whose handler panicked.
func writePanic(w http.ResponseWriter, r *http.Request) {
	ocihttp.WriteError(w, r, fault.New(fault.Internal, fault.InternalReason, "internal error"))
}
