package admin

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// retentionRulesOf reads the rules of a policy, and names the field that is wrong.
func retentionRulesOf(m *pb.RetentionPolicy) (retention.Policy, error) {
	p := retention.Policy{MayDeleteProtected: m.GetMayDeleteProtected()}
	for i, r := range m.GetRules() {
		at := fmt.Sprintf("%srules[%d].", fieldRetention, i)
		rule, err := retentionRuleOf(at, r)
		if err != nil {
			return p, err
		}
		p.Rules = append(p.Rules, rule)
	}
	if field, err := p.Check(); err != nil {
		return p, fault.From(err).WithField(fieldRetention + field)
	}
	for i, r := range p.Rules { // what takes long to compare
		at := fmt.Sprintf("%srules[%d].", fieldRetention, i)
		for list, patterns := range map[string][]string{"tags": r.Tags, "variants": r.Variants} {
			for j, pattern := range patterns {
				if err := checkRuleTag(fmt.Sprintf("%s%s[%d]", at, list, j), pattern); err != nil {
					return p, err
				}
			}
		}
	}
	return p, nil
}

// retentionRuleOf reads a rule. What it says is checked with the policy.
func retentionRuleOf(at string, m *pb.RetentionPolicy_Rule) (retention.Rule, error) {
	r := retention.Rule{
		Name: m.GetName(), Action: retention.Action(m.GetAction().String()),
		Selector:   retention.Selector{Untagged: m.GetUntagged(), Tags: m.GetTags(), Variants: m.GetVariants()},
		Conditions: retention.Conditions{Newest: int(m.GetNewest()), Released: m.GetReleased()},
	}
	for _, class := range m.GetClasses() {
		r.Classes = append(r.Classes, tagrule.Class(class.String()))
	}
	if w := m.GetVersions(); w != nil {
		r.Versions = &retention.Window{
			Majors: int(w.GetMajors()), Minors: int(w.GetMinors()), Patches: int(w.GetPatches()),
			MinorsOf: int(w.GetMinorsOf()), PatchesOf: int(w.GetPatchesOf()),
		}
	}
	for _, period := range []struct {
		field string
		from  *durationpb.Duration
		to    *time.Duration
	}{
		{"older_than", m.GetOlderThan(), &r.OlderThan},
		{"younger_than", m.GetYoungerThan(), &r.YoungerThan},
		{"pulled_within", m.GetPulledWithin(), &r.PulledWithin},
		{"not_pulled_for", m.GetNotPulledFor(), &r.NotPulledFor},
	} {
		if *period.to = period.from.AsDuration(); period.from != nil && period.from.CheckValid() != nil {
			return r, invalid(at+period.field, "the period is not valid")
		}
	}
	return r, nil
}

func retentionRuleMessage(r retention.Rule) *pb.RetentionPolicy_Rule {
	m := &pb.RetentionPolicy_Rule{
		Name: r.Name, Action: pb.RetentionPolicy_Rule_Action(pb.RetentionPolicy_Rule_Action_value[string(r.Action)]),
		Untagged: r.Untagged, Tags: r.Tags, Variants: r.Variants, Newest: int32(r.Newest), Released: r.Released,
		OlderThan: periodMessage(r.OlderThan), YoungerThan: periodMessage(r.YoungerThan),
		PulledWithin: periodMessage(r.PulledWithin), NotPulledFor: periodMessage(r.NotPulledFor),
	}
	for _, class := range r.Classes {
		m.Classes = append(m.Classes, pb.TagRule_Class(pb.TagRule_Class_value[string(class)]))
	}
	if w := r.Versions; w != nil {
		m.Versions = &pb.RetentionPolicy_Window{
			Majors: int32(w.Majors), Minors: int32(w.Minors), Patches: int32(w.Patches),
			MinorsOf: int32(w.MinorsOf), PatchesOf: int32(w.PatchesOf),
		}
	}
	return m
}

// periodMessage is absent for no condition.
func periodMessage(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
