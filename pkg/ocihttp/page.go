package ocihttp

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
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
