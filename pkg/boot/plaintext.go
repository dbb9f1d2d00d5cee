package boot

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
)

// The settings that name certificates.
const (
	settingDataCerts     = "tls_certs"
	settingAdminCerts    = "admin_tls_certs"
	settingInternalCerts = "internal_tls_certs"
	settingInternalCA    = "internal_tls_ca"
)

// Names of listeners in plaintext_listeners.
const (
	adminListener    = "admin"
	internalListener = "internal"
)

// checkPlaintext refuses listeners without TLS that other machines reach and that
// carry tokens or content (contract row S26).
func (c Config) checkPlaintext(p *Problems) {
	for _, l := range c.PlaintextListeners {
		if l != adminListener && l != internalListener {
			p.add("plaintext_listeners", "%q is neither admin nor internal", l)
		}
	}
	for _, l := range c.exposed() {
		if !slices.Contains(c.PlaintextListeners, l.name) {
			p.add(l.key, "%s is open to other machines without TLS%s, or listen on 127.0.0.1; in a private network, plaintext_listeners: %s continues without TLS", l.addr, l.cure, l.name)
		}
	}
	switch {
	case c.InternalTLSCerts != "" && c.InternalTLSCA == "":
		p.add(settingInternalCA, "is not set, but internal_tls_certs is; name the file with the authorities that sign the certificates of all processes")
	case c.InternalTLSCerts == "" && (c.InternalTLSCA != "" || c.InternalTLSName != ""):
		p.add(settingInternalCerts, "is not set, but internal_tls_ca or internal_tls_name is; name the directory of this process's certificate and key")
	}
}

// exposed is a listener that other machines reach without TLS.
type exposed struct {
	name, key, addr string
	cure            string
}

func (c Config) exposed() []exposed {
	var all []exposed
	if c.Runs(AdminService) && c.AdminTLSCerts == "" {
		const cure = ", and each call carries a token. Set admin_tls_certs to a directory of certificates"
		all = append(all, exposed{adminListener, "admin_addr", c.AdminAddr, cure}, exposed{adminListener, "admin_grpc_addr", c.AdminGRPCAddr, cure})
	}
	if c.Joined() && c.RunsData() && c.InternalTLSCerts == "" {
		all = append(all, exposed{internalListener, "internal_addr", c.InternalAddr, ". Set internal_tls_certs and internal_tls_ca"})
	}
	return slices.DeleteFunc(all, func(l exposed) bool { return !reachable(l.addr) })
}

// warnOfPlaintext logs the listeners that plaintext_listeners allows without TLS:
// the container image sets it without knowing how its ports are published.
func warnOfPlaintext(c Config, log *slog.Logger) {
	var open []string
	for _, l := range c.exposed() {
		open = append(open, l.key+" "+l.addr)
	}
	if len(open) > 0 {
		log.Warn("these listeners have no TLS, as plaintext_listeners allows: keep them in a private network, or publish them on 127.0.0.1 only", "listeners", open)
	}
}

// reachable reports whether other machines can reach a listener at the address.
// Another check refuses invalid addresses.
func reachable(addr string) bool {
	_, _, err := net.SplitHostPort(addr)
	return err == nil && !Loopback(addr)
}

// Loopback reports whether only this machine can reach the address.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
