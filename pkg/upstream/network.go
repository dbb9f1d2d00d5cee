package upstream

import (
	"net/netip"
	"slices"
)

// Network is one that is not public, and where upstreams may be nevertheless.
type Network struct {
	Tenant string // slug of the one tenant whose upstreams may; empty for all
	Prefix netip.Prefix
	Ports  []uint16 // nil for all
}

func (n Network) has(tenant string, at netip.AddrPort) bool {
	return (n.Tenant == "" || n.Tenant == tenant) && n.Prefix.Contains(at.Addr()) && (n.Ports == nil || slices.Contains(n.Ports, at.Port()))
}
