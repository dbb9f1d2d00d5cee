package scan

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Media and predicate types of results.
const (
	// SARIF is the artifact type of a referrer that is a SARIF log (OASIS, SARIF 2.1.0).
	SARIF = "application/sarif+json"
	// Predicate is the predicate type of a vulnerability scan record
	// (sigstore/cosign, specs/COSIGN_VULN_ATTESTATION_SPEC.md).
	Predicate = "https://cosign.sigstore.dev/attestation/vuln/v1"
	// OldPredicate is that of cosign 1.
	OldPredicate = "cosign.sigstore.dev/attestation/vuln/v1"
)

// MaxResult bounds a document with a result, in bytes.
const MaxResult = 8 << 20

// Result is what a scanner says of an image.
type Result struct {
	At       time.Time // when the scan ended
	Findings Findings
}

// Findings are how many there are of each severity. That of Unspecified is of those whose
// severity is not known.
type Findings [Critical + 1]int

// Above returns how many findings are above a severity, and says which. Those whose severity
// is not known may be critical, and count as that.
func (f Findings) Above(most Severity) (int, string) {
	if most == Unspecified {
		most = Critical
	}
	count := 0
	var said []string
	for s := Critical; s > most; s-- {
		if count += f[s]; f[s] > 0 {
			said = append(said, fmt.Sprintf("%d %s", f[s], s))
		}
	}
	if n := f[Unspecified]; most < Critical && n > 0 {
		count += n
		said = append(said, fmt.Sprintf("%d of unknown severity", n))
	}
	return count, strings.Join(said, ", ")
}

var (
	errUnread  = errors.New("it is not a JSON document that can be read")
	errNoTime  = errors.New("it does not say when the scan ended")
	errUnknown = errors.New("the result of its scanner is neither a report of Trivy or Grype nor a SARIF log")
)

// ReadRecord reads the predicate of a vulnerability scan record. The result in it is the
// report of Trivy or Grype as JSON, or a SARIF log.
func ReadRecord(predicate []byte) (Result, error) {
	var record struct {
		Scanner struct {
			Result jsontext.Value `json:"result"`
		} `json:"scanner"`
		Metadata struct {
			ScanFinishedOn string `json:"scanFinishedOn"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(predicate, &record); err != nil {
		return Result{}, errUnread
	}
	at, err := time.Parse(time.RFC3339, record.Metadata.ScanFinishedOn)
	if err != nil {
		return Result{}, errNoTime
	}
	findings, err := readReport(record.Scanner.Result)
	return Result{At: at, Findings: findings}, err
}

// finding is one of Trivy's. Only a misconfiguration has a status that matters: a check that
// passed found nothing.
type finding struct {
	Severity string
	Status   string
}

// readReport reads what a scanner wrote.
func readReport(text jsontext.Value) (Findings, error) {
	var report struct {
		SchemaVersion int // of Trivy
		Results       []struct {
			Vulnerabilities   []finding
			Misconfigurations []finding
			Secrets           []finding
			Licenses          []finding
		}
		Matches []struct { // of Grype
			Vulnerability struct {
				Severity string `json:"severity"`
			} `json:"vulnerability"`
		} `json:"matches"`
		Runs []run `json:"runs"` // of SARIF
	}
	var f Findings
	if len(text) == 0 || json.Unmarshal(text, &report) != nil {
		return f, errUnknown
	}
	switch {
	case report.SchemaVersion > 0:
		for _, r := range report.Results {
			for _, list := range [][]finding{r.Vulnerabilities, r.Secrets, r.Licenses} {
				for _, one := range list {
					f[severityOf(one.Severity)]++
				}
			}
			for _, one := range r.Misconfigurations {
				if one.Status != "PASS" && one.Status != "EXCEPTION" {
					f[severityOf(one.Severity)]++
				}
			}
		}
	case report.Matches != nil:
		for _, one := range report.Matches {
			f[severityOf(one.Vulnerability.Severity)]++
		}
	case report.Runs != nil:
		for _, r := range report.Runs {
			r.count(&f)
		}
	default:
		return f, errUnknown
	}
	return f, nil
}

// Newest is the newest of results.
type Newest struct {
	Result
	Found bool
}

// Take takes a result if it is newer. Of several of one moment, the most findings of each
// severity count.
func (n *Newest) Take(r Result) {
	switch {
	case !n.Found || r.At.After(n.At):
		n.Result, n.Found = r, true
	case r.At.Equal(n.At):
		for i := range n.Findings {
			n.Findings[i] = max(n.Findings[i], r.Findings[i])
		}
	}
}
