package web

import (
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// Hosts are the allowed host names of a listener for operators. Any web site can
// point a name of its own at this machine, and its pages can then read responses as
// if they were from that site (DNS rebinding). So requests for names that others
// may own are refused (contract row S62).
//
// Names that no web site can have are always allowed: addresses, names without a
// dot, as of services and containers, and names below the domains for private
// networks. So are the name of this machine, the deployment's domain and names that
// the operator adds.
type Hosts struct {
	names   []string
	domains []string // names below them are allowed, too
}

// privateDomains are in no public DNS: localhost and local by RFC 6761 and 6762,
// internal by resolution of ICANN, svc as the short form of names in Kubernetes,
// whose long form ends with local.
var privateDomains = []string{"localhost", "local", "internal", "svc"}

// NewHosts adds the domain, with what is below it, and names. A name that begins
// with "*." stands for all below it.
func NewHosts(domain string, names []string) Hosts {
	h := Hosts{names: []string{domain}, domains: []string{domain}}
	if own, err := os.Hostname(); err == nil {
		h.names = append(h.names, strings.ToLower(own))
	}
	for _, name := range names {
		if below, ok := strings.CutPrefix(name, "*."); ok {
			h.domains = append(h.domains, below)
		} else {
			h.names = append(h.names, name)
		}
	}
	return h
}

// Has reports whether a Host header, which may be empty as in HTTP/1.0, is allowed.
func (h Hosts) Has(header string) bool {
	host := HostOnly(header)
	if !strings.Contains(host, ".") && !strings.Contains(host, ":") {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if slices.Contains(h.names, host) {
		return true
	}
	below := func(domain string) bool { return strings.HasSuffix(host, "."+domain) }
	return slices.ContainsFunc(privateDomains, below) || slices.ContainsFunc(h.domains, below)
}

// HostOnly is the host of a header in lower case, without port, brackets and the
// dot of a fully qualified name.
func HostOnly(header string) string {
	host := header
	if rest, ok := strings.CutPrefix(host, "["); ok {
		host, _, _ = strings.Cut(rest, "]")
	} else if before, _, ok := strings.Cut(host, ":"); ok {
		host = before
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Operators protects a listener for operators and their programs: it refuses host
// names that others control, and pages of other origins.
type Operators struct {
	Hosts  Hosts
	Refuse func(w http.ResponseWriter, r *http.Request, status int, err error)
}

// Wrap puts it before next.
func (o Operators) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		KeepFromPages(w.Header())
		switch {
		case !o.Hosts.Has(r.Host):
			o.Refuse(w, r, http.StatusMisdirectedRequest, fault.New(fault.Misdirected, fault.RequestInvalid,
				"this listener does not answer at the host of the request; the operator can name the host in admin_hosts"))
		case !Origins(nil).Trusts(r):
			o.Refuse(w, r, http.StatusForbidden, ErrForeignPage())
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ErrForeignPage is the error for untrusted origins.
func ErrForeignPage() error {
	return fault.New(fault.Denied, fault.DeniedReason, "the request was sent by a web page of another origin without a token")
}
