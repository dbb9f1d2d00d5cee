package admin

import (
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// splitName takes the ids out of a resource name of the form
// c1/{id1}/c2/{id2}…; field is where the request carries it. The last id takes
// the rest of the name if it is the name of a repository.
func splitName(field, name string, collections ...string) ([]string, error) {
	ids := make([]string, 0, len(collections))
	rest, more := name, true
	for i, c := range collections {
		var id string
		after, found := strings.CutPrefix(rest, c+"/")
		if i == len(collections)-1 && (c == "repositories" || c == "nameClaims") {
			id, more = after, false
		} else {
			id, rest, more = strings.Cut(after, "/")
		}
		if !found || id == "" || !more && i < len(collections)-1 {
			return nil, badName(field, name, collections)
		}
		ids = append(ids, id)
	}
	if more {
		return nil, badName(field, name, collections)
	}
	return ids, nil
}

func badName(field, name string, collections []string) error {
	const longest = 300
	if len(name) > longest {
		name = name[:longest] + "…"
	}
	form := strings.Join(collections, "/{id}/") + "/{id}"
	if name == "" {
		return invalid(field, "it is missing; it is a name of the form %s", form)
	}
	return invalid(field, "%q is not a name of the form %s", name, form)
}

// invalid is a violation by one field of the request.
func invalid(field, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, fault.RequestInvalid, format, args...).WithField(field)
}

// examples are ids as people give them.
var examples = map[string]string{
	"tenant_id": "acme", "registry_id": "dev", "upstream_id": "ghcr", "upstream_group_id": "chain",
	"domain_id": "registry.acme.example", "service_account_id": "ci", "access_rule_id": "dev-pushes", "tag_rule_id": "releases", "promotion_gate_id": "prod", "pull_rule_id": "signed", "webhook_id": "ci", "retention_policy_id": "old-versions", "prefetch_id": "base-images", "group_id": "dev", "identity_provider_id": "corp", "operator_id": "alice", "trust_id": "github",
}

// missing says of an id that was not given where it belongs.
func missing(field string) error {
	return invalid(field, "it is missing; over REST it is a parameter of the query: …?%s=%s", field, examples[field])
}

// checkSlug is tenant.CheckSlug for one field of the request.
func checkSlug(field, s string) error {
	if s == "" && examples[field] != "" {
		return missing(field)
	}
	if err := tenant.CheckSlug(s); err != nil {
		return fault.From(err).WithField(field)
	}
	return nil
}

// checkDisplayName holds display names to what a line of a list can show.
func checkDisplayName(field, s string) error {
	const longest = 200
	if n := len([]rune(s)); n > longest {
		return invalid(field, "a display name has at most %d characters, not %d", longest, n)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return invalid(field, "a display name has no control characters")
	}
	return nil
}
