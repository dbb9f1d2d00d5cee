package ocihttp

import (
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// maxWarning bounds the text of a Warning header in bytes; the specification
// allows 4096 for all of them ("Warnings").
const maxWarning = 1024

// warning is the value of the Warning header that repeats the message of e, or
// empty. Clients show it to people, also for HEAD, which has no body. What
// clients meet in every pull and push, a challenge or content that is not there
// yet, has none: they would show it each time.
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

// quotable is the text inside of a quoted string in a header (RFC 9110, section
// 5.6.4).
func quotable(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case b.Len() >= maxWarning:
			return b.String()
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r > '~':
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
