package ocihttp

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// HeaderHops counts, in what one registry asks another, through how many
// registries the request came: by it a chain that leads back to where it began
// comes to an end (contract row E12).
const HeaderHops = "Berth-Hops"

// MaxHops is how many registries may ask for one another.
const MaxHops = 5

// ParseHops reads HeaderHops: 0 without the header, and more than MaxHops for
// one that says so, or is malformed: either way the chain ends.
func ParseHops(h http.Header) int {
	switch values := h[HeaderHops]; {
	case len(values) == 0:
		return 0
	case len(values) == 1 && len(values[0]) == 1 && '0' <= values[0][0] && values[0][0] <= '0'+MaxHops:
		return int(values[0][0] - '0')
	default:
		return MaxHops + 1
	}
}

// maxNamespace is the longest host name with a port.
const maxNamespace = 253 + len(":65535")

// HeaderNamespace says, in the answer to a request with the parameter ns, whose
// content it is (distribution-spec, "Registry Proxying").
const HeaderNamespace = "OCI-Namespace"

// ParseNamespace reads the parameter ns, by which clients tell a mirror which
// registry they want the content of: a host as tenant.NormalizeHost makes it,
// with the port that it was given with. It is empty without the parameter.
//
// What is given twice, is empty or is no such host is fault.RequestInvalid. So
// is an IPv6 address, which is not a component of a repository's name.
func ParseNamespace(q url.Values) (string, error) {
	values, ok := q["ns"]
	switch {
	case !ok:
		return "", nil
	case len(values) > 1:
		return "", badQuery("ns", "ns is given more than once")
	case len(values[0]) > maxNamespace, strings.HasPrefix(values[0], "["):
		return "", badNamespace()
	}
	host, err := tenant.NormalizeHost(values[0])
	if err != nil {
		return "", badNamespace()
	}
	if _, port, ok := strings.Cut(values[0], ":"); ok {
		host += ":" + port
	}
	return host, nil
}

func badNamespace() error {
	return badQuery("ns", "ns must be the host of a registry, such as docker.io or registry.example:5000")
}

// CheckContentEncoding refuses a request body that is encoded, with kind
// MediaType (415): digests are of the bytes as sent, and nothing here ever
// decompresses.
func CheckContentEncoding(r *http.Request) error {
	for _, value := range r.Header.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(value, ",") {
			if c := strings.TrimSpace(coding); c != "" && !strings.EqualFold(c, "identity") {
				return fault.New(fault.MediaType, fault.UnsupportedReason, "send the body without a Content-Encoding").
					WithField("Content-Encoding")
			}
		}
	}
	return nil
}
