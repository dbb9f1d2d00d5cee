package tenant

import (
	"encoding/json"
	"strings"
)

// Slugs is a list of slugs, with commas between them, which no slug has: so that
// what holds it can be compared. In JSON it is an array.
type Slugs string

// SlugsOf is the list.
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
