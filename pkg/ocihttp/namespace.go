package ocihttp

import (
	"net/url"
	"strings"

	"github.com/berth-registry/berth/pkg/tenant"
)

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
// is an IPv6 address, which is no component of a repository's name.
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
