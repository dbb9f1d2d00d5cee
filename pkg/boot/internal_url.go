package boot

import (
	"net"
	"net/netip"
	"strings"
)

// InternalURL is the URL of this process's internal listener for other nodes:
// internal_url, or else internal_addr, with an address of this machine if it listens
// on all. It is empty without an internal listener, if the port is only known once
// it is open, and if internal_addr is a loopback address, where other nodes would
// reach themselves.
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
