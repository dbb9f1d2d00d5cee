package tenant

import (
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"strings"
	"time"
)

// Mirror is what a mirror host answers for: one upstream or one group. Engines cannot log in
// to mirrors, so the name of the host is the secret. The zero value is of other hosts.
type Mirror struct {
	Slug       string
	Upstream   string   // slug; empty for a group
	Group      string   // slug; empty for an upstream
	CachedOnly bool     // upstreams are not asked
	Networks   Networks // of clients
	Until      time.Time
}

// IsMirror reports whether the site is that of a mirror host.
func (s *Site) IsMirror() bool { return s.Mirror.Slug != "" }

// Admits returns nil for a client at this address, now. To others the host is unknown, so
// that they do not learn that the name is right.
func (m Mirror) Admits(from netip.Addr, now time.Time) error {
	if !now.Before(m.Until) || !m.Networks.admit(from) {
		return errHost
	}
	return nil
}

// Networks are networks of clients, separated by commas, so that structs with them are
// comparable; empty for any client.
type Networks string

// NetworksOf returns the list of these networks.
func NetworksOf(networks []netip.Prefix) Networks {
	texts := make([]string, len(networks))
	for i, n := range networks {
		texts[i] = n.String()
	}
	return Networks(strings.Join(texts, ","))
}

// All are the networks, in order.
func (n Networks) All() []netip.Prefix {
	if n == "" {
		return nil
	}
	var all []netip.Prefix
	for text := range strings.SplitSeq(string(n), ",") {
		p, _ := netip.ParsePrefix(text) // one that is not valid admits no client
		all = append(all, p)
	}
	return all
}

// admit reports whether a client at the address is in one of them.
func (n Networks) admit(from netip.Addr) bool {
	if n == "" {
		return true
	}
	for _, network := range n.All() {
		if network.Contains(from.Unmap()) {
			return true
		}
	}
	return false
}

// The labels of mirror hosts: 160 random bits in base32. They are longer than slugs, so that
// no tenant can have the same host.
const (
	mirrorPrefix = "m-"
	mirrorChars  = 32
	// RedactedMirror stands for such a label wherever it could be seen.
	RedactedMirror = "m-redacted"
)

// NewMirrorLabel makes the first label of a mirror host's name.
func NewMirrorLabel() string {
	return mirrorPrefix + strings.ToLower((rand.Text() + rand.Text())[:mirrorChars])
}

// MirrorHash is what is kept of a label: it is worth as much as its randomness.
func MirrorHash(label string) [32]byte { return sha256.Sum256([]byte(label)) }

func isMirrorLabel(s string) bool {
	random, ok := strings.CutPrefix(s, mirrorPrefix)
	return ok && len(random) == mirrorChars && strings.Trim(random, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// HasMirrorLabel reports whether a name, in any case, has a label that may be that of a mirror
// host, at any level. What publishes names must not have one.
func HasMirrorLabel(name string) bool {
	for label := range strings.SplitSeq(strings.ToLower(name), ".") {
		if isMirrorLabel(label) {
			return true
		}
	}
	return false
}

// minRedacted is how many letters and digits make a text that may be a label, also where it
// was cut or misspelled.
const minRedacted = 24

// RedactMirrors replaces what looks like the label of a mirror host, in any case. It costs
// next to nothing for text without one.
func RedactMirrors(text string) string {
	var b strings.Builder
	done := 0
	for at := 0; at < len(text); {
		dash := strings.IndexByte(text[at:], '-')
		if dash < 0 {
			break
		}
		dash += at
		end := dash + 1
		for end < len(text) && isAlphanumeric(text[end]) {
			end++
		}
		at = end
		start := dash - 1
		if start < 0 || text[start]|0x20 != 'm' || start > 0 && isAlphanumeric(text[start-1]) || end-dash-1 < minRedacted {
			continue
		}
		b.WriteString(text[done:start] + RedactedMirror)
		done = end
	}
	if done == 0 {
		return text
	}
	return b.String() + text[done:]
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
