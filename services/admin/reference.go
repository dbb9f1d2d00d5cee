package admin

import (
	"context"
	"net"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
)

// withoutHost takes the registry's own host from a reference as clients write it:
// dev.acme.localhost:5000/app:1. Another host is an error where it is one for
// sure: it has a port, is localhost, is of this deployment or of an upstream. Else
// it is a part of a repository's name, which may have dots.
func (s *Service) withoutHost(ctx context.Context, t meta.Tenant, r meta.Registry, reference string) (string, error) {
	first, rest, ok := strings.Cut(reference, "/")
	if reference == "" {
		return "", invalid("reference", "it is missing: …?reference=app:1")
	}
	if !ok || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return reference, nil
	}
	host := strings.ToLower(first)
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	domains, err := s.verifiedDomains(ctx, t)
	if err != nil {
		return "", err
	}
	own := s.registryMessage(t, r, domains).GetHosts()
	if slices.Contains(own, name) {
		return rest, nil
	}
	topology, err := s.store.FindTopology(ctx, t.ID)
	if err != nil {
		return "", err
	}
	if u, ok := chain.ByHost(topology, host); ok && u.Slug != host {
		return "", invalid("reference", "%q is of upstream %q; through this registry it is proxy/%s", clipped(reference), u.Slug, clipped(reference))
	}
	_, _, ours := s.pattern.Parse(name)
	if port != "" || ours || name == "localhost" || slices.ContainsFunc(domains, func(d meta.Domain) bool { return d.Host == name }) {
		return "", invalid("reference", "host %q is not of this registry, which answers at %s", clipped(first), strings.Join(own, ", "))
	}
	return reference, nil
}
