package access

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Grants are the grants of one token. In JSON few are a list of them, which
// every version of Berth reads; many are packed.
type Grants []Grant

// maxListed is how many bytes a list of grants has in JSON at most. With the other claims
// it fits in a token.
const maxListed = 2 << 10

// Granted are the scopes that the token grants.
func (g Grants) Granted() []Scope {
	var scopes []Scope
	for _, one := range g {
		if one.Actions != 0 {
			scopes = append(scopes, Scope{one.Type, one.Name, one.Actions})
		}
	}
	return scopes
}

// MarshalJSON writes a list, or if that is long an object: from what was requested
// and granted to the names of all such resources.
func (g Grants) MarshalJSON() ([]byte, error) {
	list, err := json.Marshal([]Grant(g))
	if err != nil || len(list) <= maxListed {
		return list, err
	}
	names := map[string][]string{}
	for _, one := range g {
		key := fmt.Sprintf("%.3s%d%d", one.Type, one.Requested, one.Actions)
		names[key] = append(names[key], one.Name)
	}
	packed := map[string]string{}
	for key, of := range names {
		packed[key] = packNames(of)
	}
	return json.Marshal(packed)
}

// UnmarshalJSON reads both forms.
func (g *Grants) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '{' {
		return json.Unmarshal(b, (*[]Grant)(g))
	}
	var packed map[string]string
	if err := json.Unmarshal(b, &packed); err != nil {
		return err
	}
	*g = nil
	for _, key := range slices.Sorted(maps.Keys(packed)) {
		one, err := unpackKey(key)
		if err != nil {
			return err
		}
		names, err := unpackNames(packed[key])
		if err != nil {
			return err
		}
		for _, one.Name = range names {
			*g = append(*g, one)
		}
	}
	if len(*g) > MaxScopes {
		return fmt.Errorf("access: %d grants", len(*g))
	}
	return nil
}

// unpackKey reads "rep31": of repositories, three asked for and one granted.
func unpackKey(key string) (Grant, error) {
	for _, kind := range []string{RepositoryType, RegistryType} {
		actions, ok := strings.CutPrefix(key, kind[:3])
		if ok && len(actions) == 2 && strings.Trim(actions, "01234567") == "" {
			return Grant{Type: kind, Requested: Actions(actions[0] - '0'), Actions: Actions(actions[1] - '0')}, nil
		}
	}
	return Grant{}, fmt.Errorf("access: %q is not a form of grants", key)
}

// lengths are the digits for the length of the prefix shared with the previous name.
const lengths = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"

// packNames writes names in order, each as one digit for how many bytes it has in
// common with the one before, and the rest. Repositories of one deployment begin
// alike. No name has a space.
func packNames(names []string) string {
	var packed strings.Builder
	last := ""
	for _, name := range slices.Sorted(slices.Values(names)) {
		n := 0
		for n < min(len(last), len(name), len(lengths)-1) && last[n] == name[n] {
			n++
		}
		packed.WriteByte(lengths[n])
		packed.WriteString(name[n:] + " ")
		last = name
	}
	return packed.String()
}

func unpackNames(packed string) ([]string, error) {
	var names []string
	last := ""
	for word := range strings.FieldsSeq(packed) {
		n := strings.IndexByte(lengths, word[0])
		if n < 0 || n > len(last) || len(names) == MaxScopes {
			return nil, fmt.Errorf("access: %.20q does not follow %.20q as name %d", word, last, len(names))
		}
		last = last[:n] + word[1:]
		names = append(names, last)
	}
	return names, nil
}

// Grant is what a token carries for one resource: the requested and the granted actions. A
// requested right that was refused is final; one that was not requested needs another
// token.
type Grant struct {
	Type      string  `json:"type"`
	Name      string  `json:"name"`
	Actions   Actions `json:"actions"`
	Requested Actions `json:"asked"`
}

// decide grants from each scope only what the caller is allowed.
func decide(r *Rights, scopes []Scope) Grants {
	grants := make(Grants, 0, len(scopes))
	for _, scope := range scopes {
		grants = append(grants, Grant{Type: scope.Type, Name: scope.Name, Requested: scope.Actions, Actions: scope.Actions & r.On(scope)})
	}
	return grants
}
