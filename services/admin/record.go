package admin

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// recordTimeout bounds the lookup of one TXT record.
const recordTimeout = 5 * time.Second

// recordName is where the proof of a domain is looked for.
func recordName(host string) string { return "_berth-challenge." + host }

// checkRecord looks for the domain's challenge among the TXT records of its
// name. An answer without it is a conflict, no answer an outage.
func (s *Service) checkRecord(ctx context.Context, d meta.Domain) error {
	if d.Challenge == "" { // the operator made it, and it lost its host while it was deleted
		return fault.New(fault.Conflict, reasonUnverified, "domain %q has no record to be verified by: delete it and add it again", d.Host)
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	name := recordName(d.Host)
	// The final dot keeps the machine's search list out of it.
	values, err := s.resolver.LookupTXT(ctx, name+".")
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
	case err != nil:
		return fault.Down(err, "the domain name system")
	case slices.Contains(values, d.Challenge):
		return nil
	}
	return fault.New(fault.Conflict, reasonUnverified, "the TXT record %s does not hold %q (yet)", name, d.Challenge)
}
