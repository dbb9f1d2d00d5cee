package assemble_test

import (
	"fmt"
	"net/http"
	"slices"
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
	section string // heading in distribution-spec's spec.md, of its main branch
	level   level
	title   string
	check   func(*testing.T, repository)
}

// requirements is the whole table, in the order of the spec.
func requirements() []requirement {
	return slices.Concat(
		apiRequirements,
		pullManifestRequirements,
		pullBlobRequirements,
		pushBlobRequirements,
		chunkRequirements,
		mountRequirements,
		pushManifestRequirements,
		contentRequirements,
		subjectRequirements,
		tagListRequirements,
		catalogRequirements,
		referrersRequirements,
		deleteRequirements,
	)
}

// deployment is what the table runs against, whatever its shape.
type deployment struct {
	base    string       // URL of a registry with default settings
	sparse  string       // URL of one that allows missing references
	chained string       // URL of one that anyone may pull from, and that asks base for what it does not have
	client  *http.Client // may push, pull and delete in all of them
	nobody  *http.Client // sends no credential
}

// conformanceSeed makes the registries that the table needs, at the hosts
// conformance.localhost, sparse.conformance.localhost and
// chained.conformance.localhost, and an account that may do everything there.
const conformanceSeed = `
tenants:
  - id: conformance
    registries:
      - id: sparse
        missing_references: ALLOW
      - id: chained
        anonymous_pull: true
        upstream_group: chain
    upstream_groups:
      - id: chain
        members: [{registry: main, delegate: true}]
    service_accounts:
      - id: suite
        role: ADMIN
        keys:
          - id: key
            secret_file: secret
`

// rowsRun counts the rows of all tables that were run.
var rowsRun atomic.Int64

// conform runs the whole table. Each row has its own repositories, so that
// rows run in any order, several at once, and again on the same data.
func conform(t *testing.T, d deployment) {
	t.Helper()
	for _, row := range requirements() {
		t.Run(fmt.Sprintf("%s/%s %s", row.section, row.level, row.title), func(t *testing.T) {
			t.Parallel()
			row.check(t, repository{deployment: d, name: fmt.Sprintf("conformance/%s-%d", runID, rowsRun.Add(1))})
		})
	}
}

// TestConformance_Embedded runs the table against one process on one directory.
func TestConformance_Embedded(t *testing.T) { conforming(t, startEmbedded(t, conformanceSeed)) }

// TestConformance_OnServers runs it against one process on servers.
func TestConformance_OnServers(t *testing.T) { conforming(t, startOnServers(t, conformanceSeed, "")) }

// TestConformance_Split runs it against split services on three nodes.
func TestConformance_Split(t *testing.T) { conforming(t, startSplit(t, conformanceSeed, "")) }

// conforming runs the table, then examines what it left in the stores.
func conforming(t *testing.T, w *world) {
	t.Run("table", func(t *testing.T) {
		conform(t, w.conformance())
	})
	w.stop(t)
	w.wantSound(t)
}

// conformance is what the table runs against in a world with its seed.
func (w *world) conformance() deployment {
	return deployment{
		base:    w.registry("conformance.localhost"),
		sparse:  w.registry("sparse.conformance.localhost"),
		chained: w.registry("chained.conformance.localhost"),
		client:  w.as("suite"),
		nobody:  w.client,
	}
}

// TestConformance_RowsAreUnique keeps the names of rows apart: go test would
// number rows of one name, and a report could not be read.
func TestConformance_RowsAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range requirements() {
		key := row.section + "/" + row.title
		if seen[key] {
			t.Errorf("%s is there twice", key)
		}
		seen[key] = true
	}
}
