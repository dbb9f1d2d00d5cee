package boot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/boot/conns"
	"github.com/berth-registry/berth/pkg/boot/web"
)

// partTimeout bounds the closing of one part after requests have drained.
const partTimeout = 10 * time.Second

// Process runs listeners and background work until it is told to stop, and
// then stops them in order. Fill it with Listen, Go and OnStop, then call Run
// once.
type Process struct {
	Log     *slog.Logger
	Metrics *prometheus.Registry
	Tracing *Tracing
	Health  *Health
	Conns   *conns.Set

	pools           pools
	baseDomain      string
	shutdownTimeout time.Duration
	ops             Listener
	listeners       []Listener
	loops           []loop
	parts           []part
	draining        []func()
	ready           func(addrs map[string]net.Addr)
	bound           atomic.Pointer[[]net.Addr]
}

type loop struct {
	name string
	run  func(context.Context) error
}

type part struct {
	name  string
	close func(context.Context) error
}

// New makes a process with logs, metrics, traces, health and the ops listener. ctx
// is only for making them.
func New(ctx context.Context, c Config, log *slog.Logger) (*Process, error) {
	tracing, err := newTracing(ctx, c)
	if err != nil {
		return nil, err
	}
	p := &Process{Log: log, Metrics: newMetrics(), Tracing: tracing, Health: &Health{}, shutdownTimeout: c.ShutdownTimeout, baseDomain: c.BaseDomain}
	p.limitConnections(c)
	warnOfTrust(c, log)
	warnOfPlaintext(c, log)
	p.ops = Listener{Setting: "ops_addr", Addr: c.OpsAddr, Server: web.NewServer(web.Pace{}.Wrap(opsHandler(p.Metrics, p.Health, c.OperatorHosts())), log)}
	p.OnStop("traces", tracing.Close)
	return p, nil
}

// DataTLS is the TLS configuration of the data listener; nil without TLS. The
// process reloads changed certificates.
func (p *Process) DataTLS(c Config) (*tls.Config, error) { return p.tls(settingDataCerts, c.TLSCerts) }

// AdminTLS is DataTLS for the listeners of the admin API.
func (p *Process) AdminTLS(c Config) (*tls.Config, error) {
	return p.tls(settingAdminCerts, c.AdminTLSCerts)
}

func (p *Process) tls(setting, dir string) (*tls.Config, error) {
	if dir == "" {
		return nil, nil
	}
	certs, err := openCertificates(certificateDir{setting, dir}, p.baseDomain, p.Log)
	if err != nil {
		return nil, err
	}
	p.Go("certificates", certs.watch)
	return certs.config(), nil
}

// InternalTLS is the TLS of calls between processes; nil without TLS.
func (p *Process) InternalTLS(c Config) (*InternalTLS, error) {
	if c.InternalTLSCerts == "" {
		return nil, nil
	}
	t, err := openInternalTLS(c, p.Log)
	if err != nil {
		return nil, err
	}
	p.Go("certificates of internal calls", t.certs.watch)
	return t, nil
}

// Listen adds a listener. Run binds all before it serves any.
func (p *Process) Listen(l Listener) { p.listeners = append(p.listeners, l) }

// Go adds background work. run returns when its context ends; if it returns an
// error earlier, the process stops.
func (p *Process) Go(name string, run func(context.Context) error) {
	p.loops = append(p.loops, loop{name, run})
}

// OnStop adds a part that is closed once all requests and background work have
// ended. Parts close in reverse order.
func (p *Process) OnStop(name string, close func(context.Context) error) {
	p.parts = append(p.parts, part{name, close})
}

// OnDrain adds a function to call when the process begins to stop, before its
// requests have ended.
func (p *Process) OnDrain(f func()) { p.draining = append(p.draining, f) }

// OnReady sets a function to call once every listener is served, with the bound
// addresses by setting.
func (p *Process) OnReady(f func(addrs map[string]net.Addr)) { p.ready = f }

// Addrs are the addresses of the listeners; none before Run has bound them. It is
// safe for concurrent use.
func (p *Process) Addrs() []net.Addr {
	if addrs := p.bound.Load(); addrs != nil {
		return *addrs
	}
	return nil
}

// Run serves until ctx ends, a listener fails or background work fails. Then
// /readyz turns 503, listeners stop accepting, running requests get the shutdown
// timeout to finish, background work ends, parts close, and the ops listener closes
// last. The error is nil after a requested stop without failures.
func (p *Process) Run(ctx context.Context) error {
	sockets, err := p.bind(ctx)
	if err != nil {
		return errors.Join(err, p.drain(), p.closeParts()) // servers may have begun without a socket
	}

	addrs := slices.Collect(maps.Values(addrsOf(sockets)))
	p.bound.Store(&addrs)
	failed := make(chan error, len(sockets)+len(p.loops))
	var serving, working sync.WaitGroup
	for _, s := range sockets {
		serving.Go(func() {
			if err := s.Server.Serve(s.socket); err != nil && !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s %s: %w", s.Setting, s.Addr, err)
			}
		})
	}
	// Background work outlives ctx, so that it can serve requests that drain.
	loopCtx, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	for _, l := range p.loops {
		working.Go(func() {
			if err := l.run(loopCtx); err != nil && loopCtx.Err() == nil {
				failed <- fmt.Errorf("%s: %w", l.name, err)
			}
		})
	}
	if p.ready != nil {
		p.ready(addrsOf(sockets))
	}

	var cause error
	select {
	case <-ctx.Done():
		p.Log.Info("stopping", "shutdown_timeout", p.shutdownTimeout.String())
	case cause = <-failed:
		p.Log.Error("stopping", "error", cause)
	}
	p.Health.Drain()
	for _, f := range p.draining {
		f()
	}
	drainErr := p.drain()
	stopLoops()
	working.Wait()
	partsErr := p.closeParts()
	opsErr := p.ops.Server.Close()
	serving.Wait()
	return errors.Join(cause, drainErr, partsErr, opsErr)
}

// bound is a listener with its open socket.
type bound struct {
	Listener
	socket net.Listener
}

// bind opens all sockets or none.
func (p *Process) bind(ctx context.Context) ([]bound, error) {
	var sockets []bound
	for _, l := range append([]Listener{p.ops}, p.listeners...) {
		socket, err := l.bind(ctx, p.pools.of(l.Setting))
		if err != nil {
			for _, s := range sockets {
				err = errors.Join(err, s.socket.Close())
			}
			return nil, err
		}
		sockets = append(sockets, bound{l, socket})
	}
	return sockets, nil
}

// drain shuts down all listeners but ops at once, and closes remaining connections
// when the time is over.
func (p *Process) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.shutdownTimeout)
	defer cancel()
	errs := make([]error, len(p.listeners))
	var wg sync.WaitGroup
	for i, l := range p.listeners {
		wg.Go(func() {
			err := l.Server.Shutdown(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				p.Log.Warn("requests were still running at the end of the shutdown timeout and are cut", "listener", l.Setting)
				err = l.Server.Close()
			}
			if err != nil {
				errs[i] = fmt.Errorf("stop %s: %w", l.Setting, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (p *Process) closeParts() error {
	var errs []error
	for _, part := range slices.Backward(p.parts) {
		ctx, cancel := context.WithTimeout(context.Background(), partTimeout)
		if err := part.close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", part.name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

func addrsOf(sockets []bound) map[string]net.Addr {
	addrs := make(map[string]net.Addr, len(sockets))
	for _, s := range sockets {
		addrs[s.Setting] = s.socket.Addr()
	}
	return addrs
}
