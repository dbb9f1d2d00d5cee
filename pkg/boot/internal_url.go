package boot

import (
	"net"
	"net/netip"
	"strings"
)

// InternalURL is where other nodes reach the internal listener of this process:
// internal_url, or else internal_addr, with an address of this machine where that
// is all of them. It is empty without an internal listener, where its port is only
// known once it is open, and where internal_addr is a loopback address: another node
// would reach itself there.
func (c Config) InternalURL() string {
	if c.Embedded() || c.InternalKey.IsZero() {
		return ""
	}
	if !c.InternalAt.IsZero() {
		return strings.TrimSuffix(c.InternalAt.Reveal(), "/")
	}
	host, port, err := net.SplitHostPort(c.InternalAddr)
	if err != nil || port == "0" {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = machineAddress()
	} else if host == "localhost" || err == nil && ip.IsLoopback() {
		return ""
	}
	if host == "" {
		return ""
	}
	scheme := "http://"
	if c.InternalTLSCerts != "" {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port)
}

// machineAddress is the first address of this machine that others can reach it
// by, of IPv4 if there is one; empty without any.
func machineAddress() string {
	var found string
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return found
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || !prefix.Addr().IsGlobalUnicast() {
			continue
		}
		if prefix.Addr().Is4() {
			return prefix.Addr().String()
		}
		found = prefix.Addr().String()
	}
	return found
}
