package ocihttp

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// The limits of a query.
const (
	MaxQuery      = 8 << 10 // bytes, escaped
	MaxParameters = 100     // keys with a value; a push may set tags
	MaxPage       = 1000    // entries of a list; also how many there are when n is absent
	maxLast       = 255     // no name, tag or digest is longer

	// A token request has a scope for each of the repositories that a client works
	// on, and clients keep those that they are done with.
	MaxTokenQuery      = 64 << 10
	maxTokenParameters = 2000
)

// ParseQuery parses a raw query within MaxQuery and MaxParameters. Beyond
// them, and for malformed escapes, it is fault.RequestInvalid.
func ParseQuery(raw string) (url.Values, error) { return parseQuery(raw, MaxQuery, MaxParameters) }

// ParseTokenQuery is ParseQuery for a token request, within MaxTokenQuery.
func ParseTokenQuery(raw string) (url.Values, error) {
	return parseQuery(raw, MaxTokenQuery, maxTokenParameters)
}

func parseQuery(raw string, bytes, parameters int) (url.Values, error) {
	if len(raw) > bytes {
		return nil, badQuery("", "a query has at most %d bytes", bytes)
	}
	if strings.Count(raw, "&") >= parameters {
		return nil, badQuery("", "a query has at most %d parameters", parameters)
	}
	q, err := url.ParseQuery(plusInTypes(raw))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, fault.RequestInvalid, "the query is malformed")
	}
	return q, nil
}

// plusInTypes keeps a plus as it is in artifactType, where it belongs to the types
// ("application/vnd.example+json") and no client means a space by it. It is in the
// value of no other parameter of the API.
func plusInTypes(raw string) string {
	if !strings.Contains(raw, "+") {
		return raw
	}
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		if strings.HasPrefix(pair, "artifactType=") {
			pairs[i] = strings.ReplaceAll(pair, "+", "%2B")
		}
	}
	return strings.Join(pairs, "&")
}

// Page is which part of a list is asked for (distribution-spec, "Listing Tags").
type Page struct {
	N    int    // at most so many entries: 0 to MaxPage
	Last string // entries after this one; empty for the first page
}

// ParsePage reads n and last. An absent n means MaxPage, a greater one, however
// many digits it has, is clamped to it, and 0 asks for an empty list. Anything
// but digits, a parameter given twice, and a last that no entry can be are
// fault.RequestInvalid.
func ParsePage(q url.Values) (Page, error) {
	for _, key := range []string{"n", "last"} {
		if len(q[key]) > 1 {
			return Page{}, badQuery(key, "%s is given more than once", key)
		}
	}
	p := Page{N: MaxPage, Last: q.Get("last")}
	if q.Has("n") {
		n, err := strconv.ParseUint(q.Get("n"), 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return Page{}, badQuery("n", "n must be a number that is not negative")
		}
		p.N = int(min(n, MaxPage)) // out of range, n is the largest number there is
	}
	if len(p.Last) > maxLast || strings.ContainsFunc(p.Last, notPrintable) {
		return Page{}, badQuery("last", "last must be at most %d printable ASCII characters", maxLast)
	}
	return p, nil
}

// NextLink is the value of the Link header that leads to the next page (RFC
// 8288). path is escaped, as Route.Path returns it.
func NextLink(path string, q url.Values) string {
	return "<" + path + "?" + q.Encode() + `>; rel="next"`
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

func badQuery(field, format string, args ...any) error {
	return fault.New(fault.Invalid, fault.RequestInvalid, format, args...).WithField(field)
}

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
