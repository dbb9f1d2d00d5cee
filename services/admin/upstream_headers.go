package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// setHeaders seals the values of headers; those that are empty stay as they are.
func (s *Service) setHeaders(u *meta.Upstream, is *meta.UpstreamSettings, headers []*pb.Upstream_Header) error {
	if len(headers) > maxOwnHeaders {
		return invalid(fieldUpstream+"headers", "%d headers exceed the maximum of %d", len(headers), maxOwnHeaders)
	}
	for i, h := range headers {
		field := fmt.Sprintf("headers[%d].", i)
		name := http.CanonicalHeaderKey(h.GetName())
		taken := func(o meta.UpstreamHeader) bool { return o.Name == name }
		switch {
		case len(name) > maxHeaderName || !httpguts.ValidHeaderFieldName(name):
			return invalid(fieldUpstream+field+"name", "%q is not the name of a header of at most %d bytes", clipped(name), maxHeaderName)
		case isReserved(name):
			return invalid(fieldUpstream+field+"name", "%s is set by Berth or by HTTP itself, and cannot be chosen", name)
		case slices.ContainsFunc(is.Headers, taken):
			return invalid(fieldUpstream+field+"name", "%s is named twice", name)
		}
		next := meta.UpstreamHeader{Name: name}
		if value := h.GetValue(); value == "" {
			known := slices.IndexFunc(u.Settings.Headers, taken)
			switch {
			case known < 0:
				return invalid(fieldUpstream+field+"value", "it is missing; a header needs a value")
			case !sameURL(u.Settings.URL, is.URL):
				return givenFor(field+"value", *u, is)
			}
			next.Value = u.Settings.Headers[known].Value
		} else if len(value) > maxHeaderValue || !httpguts.ValidHeaderFieldValue(value) {
			return invalid(fieldUpstream+field+"value", "a value has at most %d bytes, and no control characters", maxHeaderValue)
		} else {
			var err error
			if next.Value, err = s.sealed(field+"value", value, meta.HeaderOf(*u, name)); err != nil {
				return err
			}
		}
		is.Headers = append(is.Headers, next)
	}
	return nil
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
