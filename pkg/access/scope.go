package access

import (
	"regexp"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/oci"
)

// MaxScopes is the most resources that one token request may name.
const MaxScopes = 500

// String writes the scope as challenges and token requests do:
// "repository:a/b:pull,push", "registry:catalog:*".
func (s Scope) String() string {
	if s.Type == RegistryType {
		return s.Type + ":" + s.Name + ":*"
	}
	return s.Type + ":" + s.Name + ":" + s.Actions.String()
}

// ParseScopes reads the values of all scope parameters of a token request (Docker registry
// token specification, "Resource Scope Grammar"); a value may hold several scopes,
// separated by spaces. Scopes of one resource are merged, at the place of the last. A
// malformed scope, or one of an unknown type, requests nothing, as does an unknown action:
// the token is then issued without it. Of more than MaxScopes resources the last count:
// clients that ask for all they ever needed put the newest last.
func ParseScopes(values []string) []Scope {
	var scopes []Scope
	known := map[Scope]int{} // without actions: where it is in scopes
	for _, value := range slices.Backward(values) {
		for _, text := range slices.Backward(strings.Split(value, " ")) {
			s, ok := parseScope(text)
			if !ok {
				continue
			}
			resource := Scope{Type: s.Type, Name: s.Name}
			if i, there := known[resource]; there {
				scopes[i].Actions |= s.Actions
			} else if len(scopes) < MaxScopes {
				known[resource] = len(scopes)
				scopes = append(scopes, s)
			}
		}
	}
	slices.Reverse(scopes)
	return scopes
}

// scopeType is resourcetype of the grammar; the class in brackets says what a
// repository holds and changes nothing for rights.
var scopeType = regexp.MustCompile(`^([a-z0-9]+)(?:\([a-z0-9]+\))?$`)

// hostPrefix is the hostname that resourcename may begin with, or that of the
// registry which "proxy/" stands before. It counts where it has a port or is an IPv6
// address: else it is also a component of a plain name.
var hostPrefix = regexp.MustCompile(`^(?:(?:[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*|proxy/[a-z0-9]+(?:(?:\.|-+)[a-z0-9]+)*):[0-9]{1,5}|proxy/\[[0-9a-f:.]{2,45}\](?::[0-9]{1,5})?)/`)

// searchAction is what Docker requests for docker search: to read the list of repositories.
const searchAction = "search"

// parseScope splits at the first and the last colon: a name may hold one.
func parseScope(text string) (Scope, bool) {
	kind, rest, _ := strings.Cut(text, ":")
	colon := strings.LastIndexByte(rest, ':')
	m := scopeType.FindStringSubmatch(kind)
	if m == nil || colon < 0 {
		return Scope{}, false
	}
	s := Scope{Type: m[1], Name: rest[:colon]}
	for word := range strings.SplitSeq(rest[colon+1:], ",") {
		s.Actions |= parseAction(word)
	}
	switch s.Type {
	case RepositoryType:
		return s, oci.CheckName(s.Name[len(hostPrefix.FindString(s.Name)):]) == nil
	case RegistryType:
		if rest[colon+1:] == searchAction {
			s.Actions = Pull
		}
		return s, s.Name == CatalogName
	default:
		return Scope{}, false
	}
}
