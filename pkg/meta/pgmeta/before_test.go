package pgmeta

import (
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// markRepositoriesBefore is markRepositories of the version before deleted repositories.
const markRepositoriesBefore = `
WITH doomed AS (
  SELECT r.tenant_id, r.id FROM registries g JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
   WHERE g.state = 'deleting' AND g.expire_at IS NULL AND r.state = 'active' ORDER BY r.tenant_id, r.id LIMIT $1 FOR UPDATE OF r
)
UPDATE repositories r SET state = 'deleting', listed = false FROM doomed WHERE r.tenant_id = doomed.tenant_id AND r.id = doomed.id`

// janitorBefore is what the janitor of that version did about what is deleted, in its order.
// The other statements are the same in this version.
var janitorBefore = []string{
	giveUpRegistries, markRegistries, markRepositoriesBefore, purgeDeletions, purgeKept, purgeTags, purgeTagHistory, purgeCachedTags, purgeReferences,
	purgeChildren, purgeManifests, purgeRepositories, purgeClaims, purgeRegistries,
}

// TestR54_ANodeOfTheVersionBeforeLeavesDeletedRepositoriesAlone: its janitor works beside this
// version, and removes nothing of a deleted repository, nor its registry.
func TestR54_ANodeOfTheVersionBeforeLeavesDeletedRepositoriesAlone(t *testing.T) {
	s, r := filled(t, Options{})
	node := otherSession{connect(t, s.opts.URL)}
	pass := func() {
		t.Helper()
		for range 3 {
			for _, statement := range janitorBefore {
				node.exec(t, statement, 100)
			}
		}
	}
	remove := func() {
		t.Helper()
		if err := s.DeleteRepository(t.Context(), meta.Cause{Op: uuid.New()}, r); err != nil {
			t.Fatal(err)
		}
		pass()
	}
	is := func(query string, want int) {
		t.Helper()
		var n int
		if err := s.pool.QueryRow(t.Context(), query).Scan(&n); err != nil || n != want {
			t.Errorf("%s: %d, %v; want %d", query, n, err, want)
		}
	}
	remove()
	is(`SELECT count(*) FROM open_repositories`, 0) // by which that version finds repositories
	if err := s.UndeleteRepository(t.Context(), meta.RepositoryUndelete{Repo: r, By: meta.Cause{Op: uuid.New()}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FindManifest(t.Context(), r, oci.Reference{Tag: "v1"}); err != nil {
		t.Error(err)
	}
	if _, err := s.FindBlob(t.Context(), r, digestOf("config")); err != nil {
		t.Error(err)
	}

	remove()
	mustRun(t, s, `UPDATE registries SET state = 'deleting', expire_at = NULL`)
	pass()
	is(`SELECT count(*) FROM registries`, 1)
	is(`SELECT count(*) FROM repositories WHERE state = 'deleted'`, 1)
	is(`SELECT count(*) FROM manifests`, 1)
	for work := 1; work > 0; {
		var err error
		if work, err = s.PurgeDeleted(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	is(`SELECT count(*) FROM registries`, 0)
	is(`SELECT count(*) FROM repositories`, 0)
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
}
