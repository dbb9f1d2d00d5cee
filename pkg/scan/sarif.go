package scan

import (
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// run is a run of a tool (SARIF 2.1.0, section 3.14).
type run struct {
	Tool struct {
		Driver     component   `json:"driver"`
		Extensions []component `json:"extensions"`
	} `json:"tool"`
	Invocations []struct {
		EndTimeUTC string `json:"endTimeUtc"`
	} `json:"invocations"`
	Results []result `json:"results"`
}

type component struct {
	Rules []rule `json:"rules"`
}

type rule struct {
	ID                   string `json:"id"`
	DefaultConfiguration struct {
		Level string `json:"level"`
	} `json:"defaultConfiguration"`
	Properties properties `json:"properties"`
}

type result struct {
	RuleID string `json:"ruleId"`
	Rule   struct {
		ID string `json:"id"`
	} `json:"rule"`
	RuleIndex  *int       `json:"ruleIndex"`
	Kind       string     `json:"kind"`
	Level      string     `json:"level"`
	Properties properties `json:"properties"`
}

// properties has the score that GitHub and scanners write, as text or a number.
type properties struct {
	Score jsontext.Value `json:"security-severity"`
}

func (p properties) severity() Severity { return severityOfScore(strings.Trim(string(p.Score), `"`)) }

// levels are those of results without a score (section 3.27.10). An error is of what is
// critical or high, and counts as the worse.
var levels = map[string]Severity{"error": Critical, "warning": Medium, "note": Low, "none": Low}

// ReadSARIF reads a SARIF log. created is when the document was made, as its manifest says;
// it counts where the log does not say when the scan ended.
func ReadSARIF(document []byte, created string) (Result, error) {
	var log struct {
		Runs []run `json:"runs"`
	}
	if err := json.Unmarshal(document, &log); err != nil {
		return Result{}, errUnread
	}
	if len(log.Runs) == 0 {
		return Result{}, errUnknown
	}
	var r Result
	for _, one := range log.Runs {
		at, err := one.ended(created)
		if err != nil {
			return Result{}, err
		}
		if r.At.IsZero() || at.Before(r.At) {
			r.At = at // of several scans, the oldest
		}
		one.count(&r.Findings)
	}
	return r, nil
}

func (r run) ended(created string) (time.Time, error) {
	var last time.Time
	for _, one := range r.Invocations {
		if at, err := time.Parse(time.RFC3339, one.EndTimeUTC); err == nil && at.After(last) {
			last = at
		}
	}
	if !last.IsZero() {
		return last, nil
	}
	at, err := time.Parse(time.RFC3339, created)
	if err != nil {
		return at, errNoTime
	}
	return at, nil
}

// count adds the findings of a run.
func (r run) count(f *Findings) {
	rules := map[string]*rule{}
	for _, c := range append(slices.Clip(r.Tool.Extensions), r.Tool.Driver) {
		for i := range c.Rules {
			rules[c.Rules[i].ID] = &c.Rules[i]
		}
	}
	for _, one := range r.Results {
		if one.Kind == "" || one.Kind == "fail" || one.Kind == "open" || one.Kind == "review" {
			f[r.severity(one, rules)]++
		}
	}
}

// severity is that of the score of a result or its rule, else of its level or the rule's.
func (r run) severity(one result, rules map[string]*rule) Severity {
	id := one.RuleID
	if id == "" {
		id = one.Rule.ID
	}
	about := rules[id]
	if i := one.RuleIndex; about == nil && id == "" && i != nil && 0 <= *i && *i < len(r.Tool.Driver.Rules) {
		about = &r.Tool.Driver.Rules[*i]
	}
	if s := one.Properties.severity(); s != Unspecified {
		return s
	}
	if about == nil {
		return levels[one.Level]
	}
	if s := about.Properties.severity(); s != Unspecified || len(about.Properties.Score) > 0 {
		return s // a scanner that writes 0.0 knows of no severity
	}
	if one.Level == "" {
		return levels[about.DefaultConfiguration.Level]
	}
	return levels[one.Level]
}
