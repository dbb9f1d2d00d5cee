package access

import (
	"encoding/json"
	"strings"
)

// Actions is a set of what may be done with a repository.
type Actions uint8

// The actions of the Docker token protocol.
const (
	Pull Actions = 1 << iota
	Push
	Delete
)

// All is every action; "*" in a scope.
const All = Pull | Push | Delete

// actionNames are the actions' words in scopes and tokens, in the order they
// are written.
var actionNames = []struct {
	action Actions
	name   string
}{{Pull, "pull"}, {Push, "push"}, {Delete, "delete"}}

// Has says whether all of want is in a.
func (a Actions) Has(want Actions) bool { return a&want == want }

// String writes the set as a scope does: "pull,push".
func (a Actions) String() string { return strings.Join(a.names(), ",") }

func (a Actions) names() []string {
	names := []string{}
	for _, n := range actionNames {
		if a.Has(n.action) {
			names = append(names, n.name)
		}
	}
	return names
}

// parseAction reads one word of a scope; an unknown one is not an action.
func parseAction(word string) Actions {
	if word == "*" {
		return All
	}
	for _, n := range actionNames {
		if n.name == word {
			return n.action
		}
	}
	return 0
}

// MarshalJSON writes the set as the access claim does: ["pull","push"].
func (a Actions) MarshalJSON() ([]byte, error) { return json.Marshal(a.names()) }

// UnmarshalJSON reads what MarshalJSON wrote; unknown words are not actions.
func (a *Actions) UnmarshalJSON(b []byte) error {
	var words []string
	if err := json.Unmarshal(b, &words); err != nil {
		return err
	}
	*a = 0
	for _, w := range words {
		*a |= parseAction(w)
	}
	return nil
}
