package admin

import (
	"context"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
)

// neededByRule are the fields that a new rule needs.
var neededByRule = []string{"effect", "principals", "repositories", "actions"}

// checkSeedRule checks a rule of a seed file, which may leave what it does not change to
// the rule that the tenant has already.
func checkSeedRule(f seedFields) error {
	return checked(f, func(m *pb.AccessRule) error {
		for field, fill := range map[string]func(){
			"effect":       func() { m.Effect = pb.AccessRule_DENY }, // which may have any actions
			"principals":   func() { m.Principals = []string{access.Authenticated} },
			"repositories": func() { m.Repositories = []string{"**"} },
			"actions":      func() { m.Actions = []pb.AccessRule_Action{pb.AccessRule_PULL} },
		} {
			if !f.has(field) {
				fill()
			}
		}
		if err := checkDisplayName("display_name", m.GetDisplayName()); err != nil {
			return err
		}
		_, err := ruleOf(m)
		return err
	})
}

// applyAccessRule also makes a rule that has ended: a file means the same whenever it is
// applied, to a new store, too.
func (s *Service) applyAccessRule(ctx context.Context, parent string, r seedResource) error {
	m, mask, err := decoded[*pb.AccessRule](r.Fields)
	if err != nil {
		return err
	}
	rules := s.accessRules()
	rules.set = s.setAnyRule
	return apply(ctx, parent+"/accessRules/", r.ID, m, mask, rules.update)
}
