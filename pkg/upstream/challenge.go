package upstream

import "strings"

// challenge is one authentication challenge of a 401 (RFC 9110, section 11.6.1).
type challenge struct {
	scheme string            // in lower case
	params map[string]string // by name in lower case; the first of a name counts
}

// maxChallenges is how many challenges are read; clients know two schemes.
const maxChallenges = 16

// parseChallenges reads the values of WWW-Authenticate, each up to where it is
// malformed.
func parseChallenges(values []string) []challenge {
	var found []challenge
	for _, v := range values {
		s := scanner{rest: v}
		var current *challenge
		for len(found) <= maxChallenges {
			s.skip(" \t,")
			name := strings.ToLower(s.token())
			if name == "" {
				break
			}
			s.skip(" \t")
			if current == nil || !s.take('=') {
				found = append(found, challenge{scheme: name, params: map[string]string{}})
				current = &found[len(found)-1]
				continue
			}
			s.skip(" \t")
			if s.rest == "" || s.rest[0] == '=' || s.rest[0] == ',' {
				s.skip("=") // the name was base64 of another scheme
				continue
			}
			value, ok := s.value()
			if !ok {
				break
			}
			if _, twice := current.params[name]; !twice {
				current.params[name] = value
			}
		}
	}
	return found[:min(len(found), maxChallenges)]
}

// pick returns the first challenge of the scheme.
func pick(all []challenge, scheme string) (challenge, bool) {
	for _, c := range all {
		if c.scheme == scheme {
			return c, true
		}
	}
	return challenge{}, false
}

// scanner reads the parts of header fields (RFC 9110, section 5.6).
type scanner struct{ rest string }

func (s *scanner) skip(set string) { s.rest = strings.TrimLeft(s.rest, set) }

func (s *scanner) take(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// token reads a token, empty if none follows.
func (s *scanner) token() string {
	n := 0
	for n < len(s.rest) && isTokenChar(s.rest[n]) {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// value reads a token or a quoted string.
func (s *scanner) value() (string, bool) {
	if !s.take('"') {
		t := s.token()
		return t, t != ""
	}
	var b strings.Builder
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return b.String(), true
		case c == '\\' && i+1 < len(s.rest):
			i++
			b.WriteByte(s.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// isTokenChar accepts the characters of a token, and those of URLs that some
// servers leave unquoted.
func isTokenChar(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~:/?", c) >= 0
}
