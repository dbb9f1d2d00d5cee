package assemble

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/proxy"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// chains builds what answers for chains: the proxy service, and the part of the
// admin API that tells how it would.
func (b *builder) chains() error {
	if err := b.openEgress(); err != nil {
		return err
	}
	if !b.config.Runs(boot.ProxyService) && !b.config.Runs(boot.AdminService) {
		return nil
	}
	f := fetch.Config{
		Meta: b.stores.meta, Blobs: b.stores.blobs, Leases: b.shared.leases,
		Self: b.config.InternalURL(), Room: b.room, Log: b.Log,
	}
	if f.Self == "" && b.config.Runs(boot.ProxyService) && !b.config.Embedded() && !b.config.Redis.IsZero() {
		b.Log.Warn("other nodes cannot read what this one is fetching from an upstream, and fetch it too: set internal_key, the same for all, and internal_url, or internal_addr to an address that they reach")
	}
	if b.config.Embedded() { // the system's directory may be memory, or not there at all
		f.Dir, f.Held = filepath.Join(b.config.DataDir, "tmp"), b.room.AddInFlight
		if err := os.MkdirAll(f.Dir, 0o700); err != nil {
			return fmt.Errorf("make the directory of content in flight: %w", err)
		}
	}
	if b.config.Joined() {
		f.Peer = proxy.NewPeers(b.calls, b.dialInternal()).Open
	}
	b.fetches = fetch.New(f)
	b.OnStop("fetches", b.fetches.Close)
	b.Metrics.MustRegister(queue("fetches", func() int { return b.fetches.Slots().Waiting }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "berth_fetches_running",
		Help: "Blobs that are being fetched from upstreams, those included that wait for their turn.",
	}, func() float64 { return float64(b.fetches.Running()) }))
	b.proxy = proxy.New(proxy.Config{
		Meta: b.stores.meta, Blobs: b.stores.blobs, Secrets: b.secrets, Leases: b.shared.leases, Fetches: b.fetches, Log: b.Log, Topologies: b.topologies, Metrics: b.Metrics,
		Upstreams: b.clients, Turnover: b.room.Turnover, Verify: b.config.VerifyPulls, Pulls: b.recorder, PullRules: b.pullRules,
	})
	b.Go("records of the cache", func(ctx context.Context) error { b.proxy.Run(ctx); return nil })
	return nil
}

// proxyHandler is the handler of the proxy service, here or in another process.
func (b builder) proxyHandler() (http.Handler, error) {
	if !b.config.Runs(boot.ProxyService) {
		if b.config.Runs(boot.RegistryService) && b.config.ProxyURL.IsZero() {
			b.Log.Warn("registries with an upstream group will answer 503 for what they do not host: this process runs no proxy service, and proxy_url is not set")
		}
		return b.remoteService(boot.ProxyService, "proxy_url", b.config.ProxyURL)
	}
	return proxy.NewHandler(b.proxy, b.around...), nil
}

// withFlights serves to other processes, besides the services, what is being
// fetched here.
func (b builder) withFlights(services http.Handler) http.Handler {
	if b.fetches == nil {
		return services
	}
	flights := proxy.Flights{Fetches: b.fetches, Calls: b.calls, Log: b.Log, Self: b.config.InternalURL()}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, proxy.FlightsPath) {
			flights.ServeHTTP(w, r)
			return
		}
		services.ServeHTTP(w, r)
	})
}
