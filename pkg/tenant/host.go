package tenant

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// The longest host name and label of it (RFC 1035 section 2.3.4).
const (
	maxHost  = 253
	maxLabel = 63
)

// errHost is the one answer to every host that leads nowhere, whatever is
// wrong with it: it tells nothing about who is served here.
var errHost = fault.New(fault.NotFound, fault.HostUnknown, "no registry answers at this host")

// NormalizeHost is the one way from a Host header, a domain of the admin API
// or a TLS server name to the form that hosts are compared in: lower case,
// without port and without the trailing dot of a fully qualified name.
// Internationalised names are taken in their ASCII form only. An IPv4 address
// stays as it is, an IPv6 address is canonical and in brackets. The result
// normalises to itself.
//
// Anything else is fault.HostUnknown, always with the same message.
func NormalizeHost(host string) (string, error) {
	if strings.HasPrefix(host, "[") {
		return normalizeBracketed(host)
	}
	host, port, hasPort := strings.Cut(host, ":")
	if hasPort && !isPort(port) {
		return "", errHost
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > maxHost {
		return "", errHost
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if !isLabel(label) {
			return "", errHost
		}
		last = label
	}
	if isNumber(last) {
		// Resolvers read such a name as an IPv4 address, in odd spellings too.
		if a, err := netip.ParseAddr(host); err != nil || !a.Is4() {
			return "", errHost
		}
		return host, nil
	}
	return strings.ToLower(host), nil // ASCII only by now
}

func normalizeBracketed(host string) (string, error) {
	literal, rest, ok := strings.Cut(host[1:], "]")
	if !ok || rest != "" && (rest[0] != ':' || !isPort(rest[1:])) {
		return "", errHost
	}
	a, err := netip.ParseAddr(literal)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", errHost
	}
	return "[" + a.String() + "]", nil
}

func isPort(s string) bool {
	if !isNumber(s) || s[0] == '0' {
		return false
	}
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isLabel matches a letter-digit-hyphen label (RFC 1123 section 2.1) in any case.
func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
