package assemble_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// level is how strongly the distribution spec asks for something (RFC 2119).
type level string

const (
	must   level = "MUST"
	should level = "SHOULD"
	ours   level = "OURS" // what the spec leaves open and Berth decides
)

// requirement is one row of the conformance table: what the spec says, where,
// and a check of it in a repository of its own.
type requirement struct {
	section string // of distribution-spec's spec.md
	level   level
	title   string
	check   func(*testing.T, repository)
}

// table is every requirement on a registry, by category of the spec.
func table() []requirement {
	var all []requirement
	for _, rows := range [][]requirement{pullRequirements} {
		all = append(all, rows...)
	}
	return all
}

// deployment is what the table runs against, whatever its shape.
type deployment struct {
	base   string // a registry with all defaults that anybody may push to and pull from
	client *http.Client
}

// conform runs the whole table. Each row has its own repositories, so that
// rows run in any order, several at once, and again on the same data.
func conform(t *testing.T, d deployment) {
	var n atomic.Int64
	for _, row := range table() {
		t.Run(fmt.Sprintf("%s/%s %s", row.section, row.level, row.title), func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("conformance/%s-%d", runID, n.Add(1))
			row.check(t, repository{deployment: d, name: name})
		})
	}
}

// TestConformance runs the table against the registry at BERTH_TEST_REGISTRY.
func TestConformance(t *testing.T) {
	base := os.Getenv("BERTH_TEST_REGISTRY")
	if base == "" {
		t.Skip("BERTH_TEST_REGISTRY names no registry")
	}
	conform(t, deployment{base: strings.TrimSuffix(base, "/"), client: http.DefaultClient})
}
