package boot

import (
	"fmt"
	"strings"
)

// Problem is one mistake in the configuration: the setting, and what is wrong or
// what to do.
type Problem struct {
	Setting string
	What    string
}

// String returns one line.
func (p Problem) String() string { return p.Setting + ": " + p.What }

// Problems are all mistakes in a configuration. Its error text has one line for
// each.
type Problems []Problem

// Error joins the lines.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// orNil is nil without problems.
func (p Problems) orNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

func (p *Problems) add(setting, format string, args ...any) {
	*p = append(*p, Problem{setting, fmt.Sprintf(format, args...)})
}

// didYouMean names the key nearest to an unknown one, if one is near.
func didYouMean(unknown string) string {
	best, least := "", len(unknown)/2+1
	for _, key := range Keys() {
		if d := editDistance(unknown, key); d < least {
			best, least = key, d
		}
	}
	if best == "" {
		return "; `berth config print` lists the settings"
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// editDistance counts the insertions, deletions and substitutions of bytes
// between a and b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
