package scan

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const ended = "2026-11-30T12:00:00Z"

func record(result string) string {
	return fmt.Sprintf(`{"invocation": {"uri": ""}, "scanner": {"uri": "pkg:github/a/scanner", "result": %s}, "metadata": {"scanStartedOn": %q, "scanFinishedOn": %q}}`, result, ended, ended)
}

// sarif is a log with a rule of a score, and results.
func sarif(score string, results ...string) string {
	return fmt.Sprintf(`{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "Trivy", "rules": [
		{"id": "CVE-1", "defaultConfiguration": {"level": "note"}, "properties": {"security-severity": %s}},
		{"id": "CVE-2", "defaultConfiguration": {"level": "note"}}]}},
		"invocations": [{"endTimeUtc": %q}], "results": [%s]}]}`, score, ended, strings.Join(results, ","))
}

func findings(critical, high, medium, low, unknown int) Findings {
	return Findings{Critical: critical, High: high, Medium: medium, Low: low, Unspecified: unknown}
}

const report = `{"SchemaVersion": 2, "ArtifactName": "app", "Results": [
	{"Target": "os", "Class": "os-pkgs", "Vulnerabilities": [{"VulnerabilityID": "CVE-1", "Severity": "CRITICAL"}, {"Severity": "HIGH"}, {"Severity": "LOW"}, {"Severity": "UNKNOWN"}, {}]},
	{"Target": "none"},
	{"Secrets": [{"Severity": "HIGH"}], "Licenses": [{"Severity": "MEDIUM"}],
	 "Misconfigurations": [{"Status": "PASS", "Severity": "CRITICAL"}, {"Status": "FAIL", "Severity": "MEDIUM"}, {"Status": "EXCEPTION", "Severity": "HIGH"}]}]}`

// TestW180_Records are of Trivy, Grype and SARIF.
func TestW180_Records(t *testing.T) {
	for what, row := range map[string]struct {
		document string
		want     Findings
	}{
		"Trivy":           {record(report), findings(1, 2, 2, 1, 2)},
		"Trivy, no OS":    {record(`{"SchemaVersion": 2, "ArtifactName": "app"}`), findings(0, 0, 0, 0, 0)},
		"Grype":           {record(`{"matches": [{"vulnerability": {"severity": "Critical"}}, {"vulnerability": {"severity": "Negligible"}}, {"vulnerability": {"severity": "Unknown"}}, {}]}`), findings(1, 0, 0, 1, 2)},
		"Grype, none":     {record(`{"matches": [], "source": {}}`), findings(0, 0, 0, 0, 0)},
		"SARIF":           {record(sarif(`"7.0"`, `{"ruleId": "CVE-1"}`)), findings(0, 1, 0, 0, 0)},
		"SARIF, none":     {record(sarif(`"7.0"`)), findings(0, 0, 0, 0, 0)},
		"another's words": {record(`{"SchemaVersion": 2, "Results": [{"Vulnerabilities": [{"Severity": "Important"}, {"Severity": "moderate"}, {"Severity": "apocalyptic"}]}]}`), findings(0, 1, 1, 0, 1)},
	} {
		got, err := ReadRecord([]byte(row.document))
		if want, _ := time.Parse(time.RFC3339, ended); err != nil || got.Findings != row.want || !got.At.Equal(want) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	for what, row := range map[string]struct{ document, want string }{
		"no JSON":      {"{", "not a JSON document"},
		"a list":       {"[]", "not a JSON document"},
		"twice":        {`{"metadata": {}, "metadata": {}}`, "not a JSON document"},
		"deep":         {strings.Repeat("[", 1<<20), "not a JSON document"},
		"deep inside":  {record(`{"matches": ` + strings.Repeat(`[`, 20000) + strings.Repeat(`]`, 20000) + `}`), "not a JSON document"},
		"no time":      {`{"scanner": {"result": {"matches": []}}}`, "when the scan ended"},
		"no result":    {fmt.Sprintf(`{"metadata": {"scanFinishedOn": %q}}`, ended), "neither a report"},
		"another's":    {record(`{"issues": []}`), "neither a report"},
		"no report":    {record(`"clean"`), "neither a report"},
		"null":         {record(`null`), "neither a report"},
		"wrong types":  {record(`{"SchemaVersion": 2, "Results": {}}`), "neither a report"},
		"null matches": {record(`{"matches": null}`), "neither a report"},
	} {
		if got, err := ReadRecord([]byte(row.document)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

// TestW180_SARIF: the score decides, else the level; what passed is no finding.
func TestW180_SARIF(t *testing.T) {
	for what, row := range map[string]struct {
		document string
		want     Findings
	}{
		"scores": {sarif(`"9.8"`, `{"ruleId": "CVE-1", "level": "note"}`, `{"rule": {"id": "CVE-1"}}`, `{"ruleIndex": 0}`,
			`{"ruleId": "CVE-1", "properties": {"security-severity": 3.9}}`), findings(3, 0, 0, 1, 0)},
		"numbers":         {sarif(`4`, `{"ruleId": "CVE-1"}`), findings(0, 0, 1, 0, 0)},
		"no score":        {sarif(`"0.0"`, `{"ruleId": "CVE-1", "level": "note"}`), findings(0, 0, 0, 0, 1)},
		"a wrong score":   {sarif(`"NaN"`, `{"ruleId": "CVE-1"}`), findings(0, 0, 0, 0, 1)},
		"levels":          {sarif(`"1"`, `{"ruleId": "CVE-2", "level": "error"}`, `{"ruleId": "CVE-2", "level": "warning"}`, `{"ruleId": "CVE-2"}`), findings(1, 0, 1, 1, 0)},
		"an unknown rule": {sarif(`"1"`, `{"ruleId": "CVE-3"}`, `{}`, `{"ruleIndex": 7}`, `{"ruleId": "CVE-3", "level": "error"}`), findings(1, 0, 0, 0, 3)},
		"kinds":           {sarif(`"9"`, `{"ruleId": "CVE-1", "kind": "pass"}`, `{"ruleId": "CVE-1", "kind": "notApplicable"}`, `{"ruleId": "CVE-1", "kind": "open"}`), findings(1, 0, 0, 0, 0)},
	} {
		if got, err := ReadSARIF([]byte(row.document), ""); err != nil || got.Findings != row.want {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	run := func(invocations string) string {
		return fmt.Sprintf(`{"invocations": [%s], "results": []}`, invocations)
	}
	log := func(runs ...string) string { return `{"runs": [` + strings.Join(runs, ",") + `]}` }
	old := `{"endTimeUtc": "2026-01-01T00:00:00Z"}`
	for what, row := range map[string]struct{ document, created, want string }{
		"of the log":       {log(run(old)), ended, "2026-01-01T00:00:00Z"},
		"of the manifest":  {log(run("")), ended, ended},
		"the last of one":  {log(run(old + `, {"endTimeUtc": "2026-02-01T00:00:00Z"}, {}`)), "", "2026-02-01T00:00:00Z"},
		"the first of two": {log(run(`{"endTimeUtc": "2026-02-01T00:00:00Z"}`), run(old)), "", "2026-01-01T00:00:00Z"},
	} {
		got, err := ReadSARIF([]byte(row.document), row.created)
		if err != nil || got.At.Format(time.RFC3339) != row.want {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	for _, document := range []string{"", "{}", `{"runs": []}`, log(run("")), log(run(old), run(""))} {
		if got, err := ReadSARIF([]byte(document), "yesterday"); err == nil {
			t.Errorf("%s: %+v", document, got)
		}
	}
}

func TestW180_Above(t *testing.T) {
	f := findings(1, 2, 3, 4, 5)
	for most, want := range map[Severity]string{
		Unspecified: "0", Critical: "0", High: "6 1 CRITICAL, 5 of unknown severity", Medium: "8 1 CRITICAL, 2 HIGH, 5 of unknown severity",
		None: "15 1 CRITICAL, 2 HIGH, 3 MEDIUM, 4 LOW, 5 of unknown severity",
	} {
		n, which := f.Above(most)
		if got := strings.TrimSpace(fmt.Sprint(n, " ", which)); got != want {
			t.Errorf("above %q: %q, want %q", most, got, want)
		}
	}
	for s := Unspecified; s <= Critical; s++ {
		text, _ := s.MarshalText()
		var again Severity
		if err := again.UnmarshalText(text); err != nil || again != s {
			t.Errorf("%d as %q: %d, %v", s, text, again, err)
		}
	}
	if err := new(Severity).UnmarshalText([]byte("medium")); err == nil {
		t.Error("it is read in lower case")
	}
}

// TestW180_TheNewestCounts: of two of one moment, the worse one.
func TestW180_TheNewestCounts(t *testing.T) {
	at := time.Unix(1000, 0)
	results := []Result{{at, findings(0, 1, 0, 0, 0)}, {at, findings(1, 0, 0, 0, 0)}, {at.Add(-time.Second), findings(9, 9, 9, 9, 9)}}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		var n Newest
		for _, i := range order {
			n.Take(results[i])
		}
		if n.Findings != findings(1, 1, 0, 0, 0) || !n.At.Equal(at) {
			t.Errorf("%v: %+v", order, n)
		}
	}
}

func FuzzReadRecord(f *testing.F) {
	for _, seed := range []string{record(report), record(sarif(`"9"`, `{"ruleId": "CVE-1"}`)), record(`{"matches": [{}]}`), "{}", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		if r, err := ReadRecord(document); err == nil {
			r.Findings.Above(Low)
		}
	})
}

func FuzzReadSARIF(f *testing.F) {
	for _, seed := range []string{sarif(`"9"`, `{"ruleId": "CVE-1"}`, `{"ruleIndex": -1}`), sarif(`{}`, `{}`), "{}", ""} {
		f.Add([]byte(seed), ended)
	}
	f.Fuzz(func(t *testing.T, document []byte, created string) {
		if r, err := ReadSARIF(document, created); err == nil {
			r.Findings.Above(Low)
		}
	})
}
