package boot

import (
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

// checkPlaintext refuses listeners that other machines reach and where tokens, or
// what clients push and pull, would pass without TLS (contract row S26).
func (c Config) checkPlaintext(p *Problems) {
	for _, l := range c.PlaintextListeners {
		if l != adminListener && l != internalListener {
			p.add("plaintext_listeners", "%q is neither admin nor internal", l)
		}
	}
	if c.Runs(AdminService) && c.AdminTLSCerts == "" && !slices.Contains(c.PlaintextListeners, adminListener) {
		for _, l := range []struct{ key, addr string }{{"admin_addr", c.AdminAddr}, {"admin_grpc_addr", c.AdminGRPCAddr}} {
			if reachable(l.addr) {
				p.add(l.key, "%s is open to other machines without TLS, and each call carries a token. Set admin_tls_certs to a directory of certificates, or listen on 127.0.0.1; in a private network, plaintext_listeners: admin goes on without TLS", l.addr)
			}
		}
	}
	if c.Joined() && c.RunsData() && c.InternalTLSCerts == "" && !slices.Contains(c.PlaintextListeners, internalListener) && reachable(c.InternalAddr) {
		p.add("internal_addr", "%s is open to other machines without TLS. Set internal_tls_certs and internal_tls_ca, or listen on 127.0.0.1; in a private network, plaintext_listeners: internal goes on without TLS", c.InternalAddr)
	}
	switch {
	case c.InternalTLSCerts != "" && c.InternalTLSCA == "":
		p.add(settingInternalCA, "is not set, but internal_tls_certs is; name the file with the authorities that sign the certificates of all processes")
	case c.InternalTLSCerts == "" && (c.InternalTLSCA != "" || c.InternalTLSName != ""):
		p.add(settingInternalCerts, "is not set, but internal_tls_ca or internal_tls_name is; name the directory of this process's certificate and key")
	}
}

// reachable says whether other machines can reach a listener at the address. One
// that is no address at all is told of elsewhere.
func reachable(addr string) bool {
	_, _, err := net.SplitHostPort(addr)
	return err == nil && !Loopback(addr)
}

// Loopback says whether only this machine can reach the address.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
