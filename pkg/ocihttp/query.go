package ocihttp

import (
	"cmp"
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
	MaxPage       = 1000    // entries of a list; also the default of n
	maxLast       = 255     // no name, tag or digest is longer

	// A token request has a scope for each repository that the client has used.
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

// plusInTypes keeps a plus in artifactType, where it is part of the type
// ("application/vnd.example+json") and never a space. No other parameter of the API
// has a plus.
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

// Page is the requested part of a list (distribution-spec, "Listing Tags").
type Page struct {
	N    int    // maximum number of entries: 0 to MaxPage
	Last string // entries after this one; empty for the first page
}

// ParsePage reads n and last. An absent n means MaxPage, a greater one of any
// length is clamped to it, and 0 selects an empty list. Other characters, a
// repeated parameter, and a last that no entry can equal are fault.RequestInvalid.
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
		p.N = int(min(n, MaxPage)) // out of range, n is math.MaxInt64
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

// HeaderHops counts how many registries have forwarded a request. It ends a chain
// that leads back to its start (contract row E12).
const HeaderHops = "Berth-Hops"

// MaxHops is how many registries may forward a request.
const MaxHops = 5

// ParseHops reads HeaderHops: 0 without the header, more than MaxHops if malformed,
// so that the chain ends.
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

// maxNamespace is the maximum length of a host name with a port.
const maxNamespace = 253 + len(":65535")

// HeaderNamespace is the registry of the content, in requests to a mirror and in their
// responses (distribution-spec, "Registry Proxying").
const HeaderNamespace = "OCI-Namespace"

// ParseNamespace reads the parameter ns, or the header HeaderNamespace, in which clients
// tell a mirror the registry of the content: a host, normalized by tenant.NormalizeHost,
// with its port if any. It is empty without both.
//
// A repeated, empty or invalid one is fault.RequestInvalid, and so are two that differ.
func ParseNamespace(q url.Values, h http.Header) (string, error) {
	asked, err := oneNamespace("ns", q["ns"])
	if err != nil {
		return "", err
	}
	sent, err := oneNamespace(HeaderNamespace, h.Values(HeaderNamespace))
	switch {
	case err != nil:
		return "", err
	case asked != "" && sent != "" && asked != sent:
		return "", badQuery("ns", "ns and the header %s name different registries: send one of them", HeaderNamespace)
	default:
		return cmp.Or(asked, sent), nil
	}
}

// oneNamespace is the host in the values of a parameter or header.
func oneNamespace(field string, values []string) (string, error) {
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", badQuery(field, "%s is given more than once", field)
	case len(values[0]) > maxNamespace:
		return "", badNamespace(field)
	}
	host, err := tenant.NormalizeHost(values[0])
	if err != nil {
		return "", badNamespace(field)
	}
	if port := (&url.URL{Host: values[0]}).Port(); port != "" {
		host += ":" + port
	}
	return host, nil
}

func badNamespace(field string) error {
	return badQuery(field, "%s must be the host of a registry, such as docker.io or registry.example:5000", field)
}

// CheckContentEncoding refuses an encoded request body, with kind MediaType (415):
// digests are of the bytes as sent, and Berth never decompresses.
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
