package ocihttp

import (
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// maxWarning bounds the text of a Warning header in bytes; the specification
// allows 4096 for all of them ("Warnings").
const maxWarning = 1024

// warning is the value of a Warning header with the message of e, or empty. Clients
// show it to people, also for HEAD, which has no body. A challenge or absent
// content has none, as clients would show it in every pull and push.
func warning(e *fault.Error) string {
	switch e.Kind {
	case fault.Denied, fault.TooMany, fault.BadUpstream, fault.Unavailable, fault.UpstreamTimeout, fault.Full:
	default:
		if !e.Warn {
			return ""
		}
	}
	return `299 - "` + quotable(e.Message) + `"`
}

// quotable makes text fit for a quoted string in a header (RFC 9110, section 5.6.4). Quotes become
// single ones: some clients end the string at the first quote, escaped or not.
func quotable(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case b.Len() >= maxWarning:
			return b.String()
		case r == '"':
			b.WriteByte('\'')
		case r == '\\':
			b.WriteString(`\\`)
		case r < ' ' || r > '~':
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
