package retention_test

import (
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
)

func TestW100_APolicyThatCannotBeEvaluatedIsRefusedByField(t *testing.T) {
	good := retention.Rule{Name: "a", Action: retention.Keep}
	for field, rules := range map[string][]retention.Rule{
		"":                          {good},
		"rules":                     nil,
		"rules[1].name":             {good, good},
		"rules[0].name":             {{Action: retention.Keep}},
		"rules[0].action":           {{Name: "a"}},
		"rules[0].tags[1]":          {{Name: "a", Action: retention.Keep, Selector: retention.Selector{Tags: []string{"v*", "[a"}}}},
		"rules[0].classes[0]":       {{Name: "a", Action: retention.Keep, Selector: retention.Selector{Classes: []tagrule.Class{"OTHER"}}}},
		"rules[0].untagged":         {{Name: "a", Action: retention.Keep, Selector: retention.Selector{Untagged: true, Tags: []string{"v*"}}}},
		"rules[0].newest":           {{Name: "a", Action: retention.Keep, Conditions: retention.Conditions{Newest: -1}}},
		"rules[0].older_than":       {{Name: "a", Action: retention.Keep, Conditions: retention.Conditions{OlderThan: -1}}},
		"rules[0].not_pulled_for":   {{Name: "a", Action: retention.Keep, Conditions: retention.Conditions{NotPulledFor: retention.MaxPeriod + 1}}},
		"rules[0].versions":         {{Name: "a", Action: retention.Keep, Conditions: retention.Conditions{Versions: &retention.Window{MinorsOf: 2}}}},
		"rules[0].versions.patches": {{Name: "a", Action: retention.Keep, Conditions: retention.Conditions{Versions: &retention.Window{Majors: 1, Patches: -2}}}},
	} {
		got, err := retention.Policy{Rules: rules}.Check()
		if got != field || (err == nil) != (field == "") || err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v is refused for %q (%v), want %q", rules, got, err, field)
		}
	}
}
