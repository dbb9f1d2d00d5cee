// Package scan reads results of scanners: when an image was scanned, and how many findings of
// which severity it had. It reads no registry, and verifies no signature.
package scan

import (
	"fmt"
	"strconv"
	"strings"
)

// Severity is how bad a finding is.
type Severity int

// Severities, in their order.
const (
	Unspecified Severity = iota // no severity is meant
	None
	Low
	Medium
	High
	Critical
)

var names = [...]string{Unspecified: "", None: "NONE", Low: "LOW", Medium: "MEDIUM", High: "HIGH", Critical: "CRITICAL"}

func (s Severity) String() string { return names[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Severity) UnmarshalText(text []byte) error {
	for i, name := range names {
		if name == string(text) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a severity", text)
}

// words are what scanners call severities, in lower case.
var words = map[string]Severity{
	"critical": Critical,
	"high":     High, "important": High,
	"medium": Medium, "moderate": Medium,
	"low": Low, "negligible": Low, "none": Low, "info": Low, "informational": Low, "note": Low,
}

// severityOf reads the word of a scanner; Unspecified if it is another one.
func severityOf(word string) Severity { return words[strings.ToLower(word)] }

// severityOfScore reads a score of CVSS, by its qualitative scale; Unspecified if it is no
// score above 0: scanners write 0.0 for what they have no score of.
func severityOfScore(text string) Severity {
	score, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || !(0 < score && score <= 10):
		return Unspecified
	case score >= 9:
		return Critical
	case score >= 7:
		return High
	case score >= 4:
		return Medium
	default:
		return Low
	}
}
