package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/berth-registry/berth/pkg/meta"
)

// headers are those of a target, with their values sealed; those that are empty stay as they
// are.
func (s *Service) headers(at targetPlace, m targetMessage) ([]meta.UpstreamHeader, error) {
	given := m.GetHeaders()
	if len(given) > maxOwnHeaders {
		return nil, at.invalid("headers", "%d headers exceed the maximum of %d", len(given), maxOwnHeaders)
	}
	var all []meta.UpstreamHeader
	for i, h := range given {
		field := fmt.Sprintf("headers[%d].", i)
		next := meta.UpstreamHeader{Name: http.CanonicalHeaderKey(h.GetName())}
		switch {
		case len(next.Name) > maxHeaderName || !httpguts.ValidHeaderFieldName(next.Name):
			return nil, at.invalid(field+"name", "%q is not the name of a header of at most %d bytes", clipped(next.Name), maxHeaderName)
		case isReserved(next.Name):
			return nil, at.invalid(field+"name", "%s is set by Berth or by HTTP itself, and cannot be chosen", next.Name)
		case slices.ContainsFunc(all, func(o meta.UpstreamHeader) bool { return o.Name == next.Name }):
			return nil, at.invalid(field+"name", "%s is named twice", next.Name)
		}
		var err error
		if next.Value, err = s.headerValue(at, field+"value", next.Name, h.GetValue(), m.GetUrl()); err != nil {
			return nil, err
		}
		all = append(all, next)
	}
	return all, nil
}

func (s *Service) headerValue(at targetPlace, field, name, value, url string) ([]byte, error) {
	known := slices.IndexFunc(at.was.Headers, func(h meta.UpstreamHeader) bool { return h.Name == name })
	switch {
	case value == "" && known < 0:
		return nil, at.invalid(field, "it is missing; a header needs a value")
	case value == "" && !sameURL(at.was.URL, url):
		return nil, at.givenFor(field, url)
	case value == "":
		return at.was.Headers[known].Value, nil
	case len(value) > maxHeaderValue || !httpguts.ValidHeaderFieldValue(value):
		return nil, at.invalid(field, "a value has at most %d bytes, and no control characters", maxHeaderValue)
	default:
		return s.sealed(at, field, value, at.names.Header(name))
	}
}

// isReserved refuses headers between two hops (RFC 9110, section 7.6.1), those that
// Berth sets, and those that change what a response is.
func isReserved(name string) bool {
	for _, prefix := range []string{"Accept", "Berth-", "Content-", "If-", "Proxy-", "X-Forwarded-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "Authorization", "Connection", "Cookie", "Cookie2", "Expect", "Forwarded", "Host", "Http2-Settings", "Keep-Alive", "Max-Forwards", "Range", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Via", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Real-Ip":
		return true
	default:
		return false
	}
}
