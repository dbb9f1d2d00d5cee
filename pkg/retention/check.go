package retention

import (
	"fmt"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// The bounds of a policy.
const (
	MaxRules    = 50
	MaxPatterns = 100 // in one list of a rule
	MaxPeriod   = 100 * 365 * 24 * time.Hour
)

// Check returns what is wrong with a policy, and the field: rules[2].tags[0]. An empty
// field is a policy that can be evaluated.
func (p Policy) Check() (string, error) {
	if len(p.Rules) == 0 || len(p.Rules) > MaxRules {
		return "rules", problem("a policy has from 1 to %d rules", MaxRules)
	}
	for i, r := range p.Rules {
		if field, err := r.check(); err != nil {
			return fmt.Sprintf("rules[%d].%s", i, field), err
		}
		if slices.ContainsFunc(p.Rules[:i], func(other Rule) bool { return other.Name == r.Name }) {
			return fmt.Sprintf("rules[%d].name", i), problem("%q is the name of two rules", r.Name)
		}
	}
	return "", nil
}

func problem(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.RequestInvalid, format, args...)
}

func (r Rule) check() (string, error) {
	if r.Name == "" || len(r.Name) > 63 {
		return "name", problem("a rule has a name of at most 63 bytes")
	}
	if r.Action != Keep && r.Action != Delete {
		return "action", problem("a rule keeps or deletes")
	}
	if field, err := r.Selector.check(); err != nil {
		return field, err
	}
	if r.Untagged && (r.Versions != nil || r.Released) {
		return "versions", problem("a manifest without a tag has no version")
	}
	return r.Conditions.check()
}

func (s Selector) check() (string, error) {
	if s.Untagged && len(s.Tags)+len(s.Classes)+len(s.Variants) > 0 {
		return "untagged", problem("a rule about untagged manifests selects no tags")
	}
	for _, list := range []struct {
		field    string
		patterns []string
	}{{"tags", s.Tags}, {"variants", s.Variants}} {
		if len(list.patterns) > MaxPatterns {
			return list.field, problem("there are more than %d patterns", MaxPatterns)
		}
		for i, pattern := range list.patterns {
			if err := oci.CheckPattern(pattern); err != nil {
				return fmt.Sprintf("%s[%d]", list.field, i), err
			}
		}
	}
	for i, class := range s.Classes {
		if slices.Contains(s.Classes[:i], class) {
			return fmt.Sprintf("classes[%d]", i), problem("%s is there twice", class)
		}
		if !slices.Contains(tagrule.Classes, class) {
			return fmt.Sprintf("classes[%d]", i), problem("%s is not a class; it is one of RELEASE, PRERELEASE, SNAPSHOT, FLOATING", class)
		}
	}
	return "", nil
}

func (c Conditions) check() (string, error) {
	if c.Newest < 0 {
		return "newest", problem("a number of tags is at least 0")
	}
	for _, period := range []struct {
		field string
		of    time.Duration
	}{{"older_than", c.OlderThan}, {"younger_than", c.YoungerThan}, {"pulled_within", c.PulledWithin}, {"not_pulled_for", c.NotPulledFor}} {
		if period.of < 0 || period.of > MaxPeriod {
			return period.field, problem("a period is at least 0 and at most 100 years")
		}
	}
	if c.Versions != nil {
		return c.Versions.check()
	}
	return "", nil
}

func (w Window) check() (string, error) {
	for _, number := range []struct {
		field string
		of    int
	}{{"majors", w.Majors}, {"minors", w.Minors}, {"patches", w.Patches}, {"minors_of", w.MinorsOf}, {"patches_of", w.PatchesOf}} {
		if number.of < All {
			return "versions." + number.field, problem("a number of versions is at least 0, or -1 for all")
		}
	}
	if w.Majors == 0 && w.Minors == 0 && w.Patches == 0 {
		return "versions", problem("the window contains no version; set majors, minors or patches")
	}
	return "", nil
}
