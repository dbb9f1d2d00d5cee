package boot

import (
	"context"
	"log/slog"

	"github.com/berth-registry/berth/pkg/boot/conns"
)

// File descriptors that the default of max_connections leaves free. Half of the others
// are for connections: each may need one more, for a file or a server.
const (
	keptDescriptors = 64  // the database, the listeners, the log
	opsConnections  = 128 // of ops_addr: an operator and the probes get in whatever clients do
	adminReserve    = 128 // of admin_addr, and of admin_grpc_addr

	minConnections = 32
	maxConnections = 16 << 10 // unless it is set: each needs some 20 KiB of memory
)

// connectionsFor is the default of max_connections.
func connectionsFor(files int) int {
	free := files - keptDescriptors - opsConnections - 2*adminReserve
	return min(max(free/2, minConnections), maxConnections)
}

// pools are the pools of connections, separated so that they do not starve each
// other.
type pools struct {
	clients, ops, admin, adminGRPC *conns.Pool
}

// of is the pool of the listener that has its address from the setting.
func (p pools) of(setting string) *conns.Pool {
	switch setting {
	case "ops_addr":
		return p.ops
	case "admin_addr":
		return p.admin
	case "admin_grpc_addr":
		return p.adminGRPC
	}
	return p.clients
}

// Clients is how many connections data and internal listeners may have.
func (p *Process) Clients() int { return p.pools.clients.Max }

// limitConnections makes the pools. Go has raised the soft limit of descriptors to the
// hard one before main.
func (p *Process) limitConnections(c Config) {
	files := MaxFiles()
	clients := c.MaxConnections
	if clients == 0 {
		clients = connectionsFor(files)
	} else if most := files - keptDescriptors - opsConnections - 2*adminReserve; clients > most {
		p.Log.Warn("max_connections is more than the limit of file descriptors leaves room for; raise that limit", "max_connections", clients, "file_descriptors", files, "room_for", most)
	}
	p.Conns = conns.NewSet(p.Log, files)
	pool := func(most int) *conns.Pool {
		return p.Conns.Pool(conns.Limits{Max: most, Trusted: c.TrustedProxies, Peers: "internal"})
	}
	p.pools = pools{clients: pool(clients), ops: pool(opsConnections), admin: pool(adminReserve), adminGRPC: pool(adminReserve)}
	p.Metrics.MustRegister(p.Conns)
	p.Health.AddExplained("connections", p.Conns.Check)
	p.Go("connections", func(ctx context.Context) error { p.Conns.Run(ctx); return nil })
}

// The shortest prefix of a network of proxies without a warning.
const minTrustedBits = 8

// warnOfTrust warns of trusted networks that are too large to hold only proxies: a
// client there can claim any address, and has no limit of connections.
func warnOfTrust(c Config, log *slog.Logger) {
	for _, n := range c.TrustedProxies {
		if n.Bits() < minTrustedBits {
			log.Warn("trusted_proxies names a network that is very wide: every client in it may claim any address; name only the proxies", "network", n.String())
		}
	}
}
