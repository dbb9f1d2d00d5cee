package admin

import (
	"fmt"
	"regexp"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/people"
)

// Limits of mappings.
const (
	maxMappings       = 20
	maxMappingPattern = 256
)

// mappingsOf reads the mappings of a provider.
func mappingsOf(p meta.IdentityProvider, given []*pb.IdentityProvider_Mapping) ([]meta.Mapping, error) {
	if len(given) > maxMappings {
		return nil, invalid(fieldProvider+"mappings", "%d mappings exceed the maximum of %d", len(given), maxMappings)
	}
	var all []meta.Mapping
	for i, m := range given {
		one, err := mappingOf(fmt.Sprintf("%smappings[%d].", fieldProvider, i), p, m)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func mappingOf(field string, p meta.IdentityProvider, m *pb.IdentityProvider_Mapping) (meta.Mapping, error) {
	made := meta.Mapping{Pattern: m.GetGroupPattern(), Tenant: m.GetTenant(), Registry: m.GetRegistry(), Group: m.GetGroup(), Repositories: m.GetRepositories()}
	pattern, err := people.MappingPattern(made.Pattern)
	if err != nil || made.Pattern == "" || len(made.Pattern) > maxMappingPattern {
		return made, invalid(field+"group_pattern", "it is not a regular expression (RE2) of 1 to %d bytes", maxMappingPattern)
	}
	if made.Tenant != "" && (p.Tenant != meta.Deployment || len(p.Tenants) > 0) {
		return made, invalid(field+"tenant", "only a provider of the operator that is offered to all tenants makes tenants")
	}
	for _, t := range []struct{ field, template string }{{"tenant", made.Tenant}, {"registry", made.Registry}, {"group", made.Group}} {
		if t.template == "" && t.field == "tenant" {
			continue
		}
		if err := checkTemplate(pattern, t.template); err != nil {
			return made, invalid(field+t.field, "%q is not a template of an ID, such as {name}, with names that group_pattern has: %s", clipped(t.template), err)
		}
	}
	repositories := made.Repositories
	if len(repositories) == 0 {
		repositories = []string{"**"} // as people.applyMappings takes it
	}
	rule, err := ruleOf(&pb.AccessRule{
		Effect: pb.AccessRule_ALLOW, Principals: []string{access.Authenticated}, Registries: []string{tenant.MainRegistry},
		Actions: m.GetActions(), Repositories: repositories,
	})
	if err != nil {
		if f := fault.From(err); f != nil {
			err = f.WithField(field + strings.TrimPrefix(f.Field, fieldRule))
		}
		return made, err
	}
	made.Actions = rule.Actions.String()
	return made, nil
}

// checkTemplate tries a template with short texts for what the pattern finds.
func checkTemplate(pattern *regexp.Regexp, template string) error {
	text := template
	for _, name := range pattern.SubexpNames() {
		if name != "" {
			text = strings.ReplaceAll(text, "{"+name+"}", "xx")
		}
	}
	return tenant.CheckSlug(text)
}

func mappingMessages(all []meta.Mapping) []*pb.IdentityProvider_Mapping {
	return mapped(all, func(m meta.Mapping) *pb.IdentityProvider_Mapping {
		return &pb.IdentityProvider_Mapping{
			GroupPattern: m.Pattern, Tenant: m.Tenant, Registry: m.Registry, Group: m.Group, Actions: actionMessages(access.RuleActions(m.Actions)), Repositories: m.Repositories,
		}
	})
}
