package tenant

import (
	"encoding/json"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// The minimum and maximum length of a slug.
const (
	minSlug = 2
	maxSlug = 31
)

// CheckSlug checks that s can name a tenant, registry or service account: 2 to 31
// lower-case letters, digits and hyphens, a letter first, no hyphen last and no two
// in a row, so that it is a DNS label and "--" is free to separate two of them.
// Anything else is fault.RequestInvalid.
func CheckSlug(s string) error {
	if isSlug(s) {
		return nil
	}
	return fault.New(fault.Invalid, fault.RequestInvalid,
		"%q is not a name: it needs %d to %d lower-case letters, digits and single hyphens, a letter first and no hyphen last",
		s[:min(len(s), 2*maxSlug)], minSlug, maxSlug)
}

func isSlug(s string) bool {
	if len(s) < minSlug || len(s) > maxSlug || s[0] < 'a' || s[0] > 'z' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// Slugs is a list of slugs, separated by commas, so that structs with it are
// comparable. In JSON it is an array.
type Slugs string

// SlugsOf returns the list of the slugs.
func SlugsOf(slugs []string) Slugs { return Slugs(strings.Join(slugs, ",")) }

// All are the slugs, in order.
func (s Slugs) All() []string {
	if s == "" {
		return nil
	}
	return strings.Split(string(s), ",")
}

// MarshalJSON implements json.Marshaler.
func (s Slugs) MarshalJSON() ([]byte, error) { return json.Marshal(s.All()) }

// UnmarshalJSON implements json.Unmarshaler.
func (s *Slugs) UnmarshalJSON(text []byte) error {
	var slugs []string
	err := json.Unmarshal(text, &slugs)
	*s = SlugsOf(slugs)
	return err
}
