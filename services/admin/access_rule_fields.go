package admin

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/oci"
)

// fieldRule begins the fields of an access rule in a request.
const fieldRule = "access_rule."

// How many ** and how many single * a pattern of names may have.
const (
	maxDeep  = 2
	maxStars = 4
)

// maxOfRule is how many principals, registries, repositories or networks a rule may have.
const maxOfRule = 64

// ruleOf reads the rule that a client sets. It checks all but whether what the rule names is
// there.
func ruleOf(m *pb.AccessRule) (access.Rule, error) {
	r := access.Rule{
		Deny:       m.GetEffect() == pb.AccessRule_DENY,
		Principals: m.GetPrincipals(), Registries: m.GetRegistries(), Repositories: m.GetRepositories(),
	}
	if !r.Deny && m.GetEffect() != pb.AccessRule_ALLOW {
		return r, invalid(fieldRule+"effect", "%s is not an effect; it is one of ALLOW, DENY", m.GetEffect())
	}
	for _, list := range []struct {
		name    string
		entries []string
		needed  string // what it may name; empty: it may be empty
		check   func(field, entry string) error
	}{
		{"principals", r.Principals, "authenticated for all accounts of the tenant, anonymous for callers without a credential", checkPrincipal},
		{"registries", r.Registries, "", checkRuleRegistry},
		{"repositories", r.Repositories, `"**" for all`, checkRuleRepository},
	} {
		if len(list.entries) == 0 && list.needed != "" {
			return r, invalid(fieldRule+list.name, "it is missing; name at least one, such as %s", list.needed)
		}
		if err := checkEntries(fieldRule+list.name, list.entries, list.check); err != nil {
			return r, err
		}
	}
	var err error
	if r.Actions, err = ruleActions(m); err != nil {
		return r, err
	}
	if r.Networks, err = networksOf(fieldRule+"networks", m.GetNetworks()); err != nil {
		return r, err
	}
	if end := m.GetExpireTime(); end != nil {
		if err := end.CheckValid(); err != nil {
			return r, invalid(fieldRule+"expire_time", "it is not a time from the year 1 to 9999")
		}
		r.Until = end.AsTime().Truncate(time.Microsecond) // as the store has it
	}
	return r, nil
}

// checkEntries checks each entry of a list, and that none is there twice.
func checkEntries(list string, entries []string, check func(field, entry string) error) error {
	return checkAtMost(list, entries, maxOfRule, check)
}

// checkAtMost checks each entry of a list, that none is there twice, and that they are not too
// many.
func checkAtMost(list string, entries []string, most int, check func(field, entry string) error) error {
	if len(entries) > most {
		return invalid(list, "%d %s exceed the maximum of %d", len(entries), list[strings.LastIndexByte(list, '.')+1:], most)
	}
	for i, entry := range entries {
		field := fmt.Sprintf("%s[%d]", list, i)
		if err := check(field, entry); err != nil {
			return err
		}
		if slices.Contains(entries[:i], entry) {
			return invalid(field, "%q is there twice", entry)
		}
	}
	return nil
}

func checkPrincipal(field, name string) error {
	_, slug, account := access.AccountOf(name)
	group, isGroup := access.GroupOf(name)
	switch {
	case isGroup:
		return checkSlug(field, group)
	case account:
		return checkSlug(field, slug)
	case name == access.Authenticated || name == access.AnonymousPrincipal:
		return nil
	default:
		return invalid(field, "%q is not a principal; it is one of groups/{group}, serviceAccounts/{service_account}, users/{user}, %s, %s", clipped(name), access.Authenticated, access.AnonymousPrincipal)
	}
}

func checkRuleRegistry(field, slug string) error {
	if !access.IsPattern(slug) {
		return checkSlug(field, slug)
	}
	if oci.CheckPattern(slug) != nil || strings.Contains(slug, "/") {
		return invalid(field, "%q is not a valid pattern of slugs, such as team-*", clipped(slug))
	}
	return nil
}

func checkRuleRepository(field, pattern string) error {
	if oci.CheckPattern(pattern) != nil {
		return invalid(field, "%q is not a valid name pattern, such as library/** or team-*/app, of at most %d bytes", clipped(pattern), oci.MaxPattern)
	}
	if strings.Count(pattern, "**") > maxDeep || strings.Count(strings.ReplaceAll(pattern, "**", ""), "*") > maxStars {
		return invalid(field, "%q has more than %d ** or more than %d single *, and takes long to compare with names", clipped(pattern), maxDeep, maxStars)
	}
	return nil
}

// actionsOfRules are the actions, in the order in which they are shown.
var actionsOfRules = []struct {
	message pb.AccessRule_Action
	action  access.Actions
}{
	{pb.AccessRule_PULL, access.Pull},
	{pb.AccessRule_FILL, access.Fill},
	{pb.AccessRule_PUSH, access.Push},
	{pb.AccessRule_DELETE, access.Delete},
	{pb.AccessRule_PROMOTE, access.Promote},
	{pb.AccessRule_UNDELETE, access.Undelete},
	{pb.AccessRule_ADMIN, access.Manage},
	{pb.AccessRule_PURGE, access.Purge},
}

const namesOfActions = "PULL, FILL, PUSH, DELETE, PROMOTE, UNDELETE, ADMIN, PURGE"

// ofAdminAPI are the actions that only the admin API needs.
const ofAdminAPI = access.Promote | access.Undelete | access.Manage | access.Purge

func ruleActions(m *pb.AccessRule) (access.Actions, error) {
	const field = fieldRule + "actions"
	if len(m.GetActions()) == 0 {
		return 0, invalid(field, "it is missing; name at least one of "+namesOfActions)
	}
	var a access.Actions
	for i, given := range m.GetActions() {
		var one access.Actions
		for _, known := range actionsOfRules {
			if known.message == given {
				one = known.action
			}
		}
		switch {
		case one == 0:
			return 0, invalid(fmt.Sprintf("%s[%d]", field, i), "%s is not an action; it is one of "+namesOfActions, given)
		case a.Has(one):
			return 0, invalid(fmt.Sprintf("%s[%d]", field, i), "%s is there twice", given)
		}
		a |= one
	}
	if m.GetEffect() == pb.AccessRule_ALLOW && a.Has(access.Fill) && !a.Has(access.Pull) {
		return 0, invalid(field, "FILL goes with PULL: add PULL")
	}
	if closed := a & ofAdminAPI; m.GetEffect() == pb.AccessRule_ALLOW && closed != 0 && slices.Contains(m.GetPrincipals(), access.AnonymousPrincipal) {
		return 0, invalid(field, "%s cannot be given to anonymous callers: the admin API is closed to them", wordsOfRule(closed))
	}
	return a, nil
}

// wordsOfRule names actions as rules do: "PUSH and DELETE".
func wordsOfRule(a access.Actions) string {
	return strings.ReplaceAll(strings.ToUpper(a.String()), ",", " and ")
}

func actionMessages(a access.Actions) []pb.AccessRule_Action {
	var out []pb.AccessRule_Action
	for _, known := range actionsOfRules {
		if a.Has(known.action) {
			out = append(out, known.message)
		}
	}
	return out
}

// networksOf are the networks of a field in the form in which the addresses of clients are
// compared with them.
func networksOf(field string, texts []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	check := func(field, text string) error {
		n, err := netip.ParsePrefix(text)
		if err != nil {
			return invalid(field, "%q is not a network in CIDR notation, such as 10.0.0.0/8, 192.0.2.1/32 or 2001:db8::/32", clipped(text))
		}
		const mapped = 96 // bits before an IPv4 address in IPv6
		if n.Addr().Is4In6() && n.Bits() >= mapped {
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-mapped)
		}
		if n = n.Masked(); slices.Contains(networks, n) {
			return invalid(field, "%s is there twice", n)
		}
		networks = append(networks, n)
		return nil
	}
	return networks, checkEntries(field, texts, check)
}
