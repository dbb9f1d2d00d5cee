package boot

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Network is a network that is not public and may contain upstreams: an entry of
// upstream_allow, [TENANT@]NETWORK[:PORT,…].
//
//	10.0.0.0/8:443,5000       these ports of this network, for all tenants
//	[fd00::/8]:443            brackets, as in URLs
//	acme@10.1.2.0/24:443      for this tenant alone
//	10.0.0.0/8:*              every port
//	10.0.0.0/8                likewise, with a warning at every start
type Network struct {
	Tenant string // slug; empty for all
	Prefix netip.Prefix
	Ports  []uint16 // nil for all
	Open   bool     // all ports are meant
}

var errNotAllowed = errors.New("is not of the form [TENANT@]NETWORK:PORT,…, such as 10.0.0.0/8:443,5000, [fd00::/8]:443 or acme@10.1.2.0/24:443")

// UnmarshalText is the inverse of String.
func (n *Network) UnmarshalText(text []byte) error {
	whole := string(text)
	var read Network
	if slug, rest, ok := strings.Cut(whole, "@"); ok {
		if slug == "" {
			return errNotAllowed
		}
		read.Tenant, whole = slug, rest
	}
	network, ports := whole, ""
	if inside, rest, ok := strings.Cut(strings.TrimPrefix(whole, "["), "]"); ok && whole[0] == '[' {
		network = inside
		if rest != "" && (rest[0] != ':' || len(rest) == 1) {
			return errNotAllowed
		}
		ports = strings.TrimPrefix(rest, ":")
	} else if slash := strings.IndexByte(whole, '/'); slash >= 0 {
		bits, after, cut := strings.Cut(whole[slash:], ":")
		if cut && after == "" {
			return errNotAllowed
		}
		network, ports = whole[:slash]+bits, after
	}
	var err error
	if read.Prefix, err = netip.ParsePrefix(network); err != nil {
		return errNotAllowed
	}
	switch ports {
	case "":
	case "*":
		read.Open = true
	default:
		for p := range strings.SplitSeq(ports, ",") {
			port, err := strconv.ParseUint(strings.TrimSpace(p), 10, 16)
			if err != nil || port == 0 {
				return errNotAllowed
			}
			read.Ports = append(read.Ports, uint16(port))
		}
	}
	*n = read
	return nil
}

// String writes the entry as an operator would.
func (n Network) String() string {
	text := n.Prefix.String()
	ports := make([]string, len(n.Ports))
	for i, p := range n.Ports {
		ports[i] = strconv.Itoa(int(p))
	}
	if n.Open {
		ports = []string{"*"}
	}
	if len(ports) > 0 {
		if n.Prefix.Addr().Is6() {
			text = "[" + text + "]"
		}
		text += ":" + strings.Join(ports, ",")
	}
	if n.Tenant != "" {
		text = n.Tenant + "@" + text
	}
	return text
}

// joinPorts joins the ports of a network that a list split at commas.
func joinPorts(entries []string) []string {
	var joined []string
	for _, e := range entries {
		isPort := e != "" && !slices.ContainsFunc([]byte(e), func(c byte) bool { return c < '0' || c > '9' })
		if last := len(joined) - 1; isPort && last >= 0 && strings.Contains(joined[last], "/") {
			joined[last] += "," + e
			continue
		}
		joined = append(joined, e)
	}
	return joined
}
