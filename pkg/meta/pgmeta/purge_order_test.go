package pgmeta

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// TestJanitorsLockTenantsInOrder: two janitors that change content of the same tenants do not wait
// for each other, in whatever order they meet the rows.
func TestJanitorsLockTenantsInOrder(t *testing.T) {
	s := open(t, Options{})
	first := fill(t, s)
	other, err := s.CreateTenant(t.Context(), meta.Cause{Op: uuid.New()}, meta.Tenant{Slug: "beta"}, tenant.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	main, err := s.FindRegistry(t.Context(), other.ID, tenant.MainRegistry)
	if err != nil {
		t.Fatal(err)
	}
	second := meta.Repo{Tenant: other.ID, Registry: main.ID, Name: "purged"}
	first.Name = "purged"
	for _, r := range []meta.Repo{second, first} { // the rows of the second tenant come first
		pushBlob(t, s, r, "config")
		putImage(t, s, r, "config", "v1")
	}
	ctx := context.WithoutCancel(t.Context())
	for _, step := range []struct {
		name    string
		prepare []string
		run     func() (int, error)
	}{
		{"references", []string{`UPDATE manifests m SET refs = NULL` + ofPurged}, func() (int, error) {
			return s.settleReferences(ctx)
		}},
		{"deleted tags", []string{`UPDATE tags m SET manifest = NULL` + ofPurged}, func() (int, error) {
			return s.dropDeletedTags(ctx)
		}},
		{"listed", []string{
			`UPDATE manifests m SET expire_at = berth_now()` + ofPurged,
			`INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, artifact_type, annotations, created_at, payload, refs)
SELECT m.tenant_id, m.repo_id, '\x00', m.media_type, m.size, m.artifact_type, m.annotations, m.created_at, m.payload, 1 FROM manifests m` + thatArePurged,
			`INSERT INTO manifest_children (tenant_id, repo_id, parent, child)
SELECT m.tenant_id, m.repo_id, '\x00', m.digest FROM manifests m` + thatArePurged + ` AND m.digest <> '\x00'`,
			`INSERT INTO trashed_manifests (tenant_id, repo_id, digest, media_type, size, refs, payload, tags, children, op, actor, deleted_at, restore_until)
SELECT m.tenant_id, m.repo_id, m.digest, m.media_type, m.size, m.refs, m.payload, '[]', '[]', gen_random_uuid(), '', berth_now(), berth_now() FROM manifests m` + thatArePurged + ` AND m.digest <> '\x00'`,
		}, func() (int, error) {
			return s.ExpireCached(ctx, 10)
		}},
		{"manifests", []string{
			`DELETE FROM manifest_children WHERE tenant_id = $1`,
			`DELETE FROM manifests WHERE tenant_id = $1 AND digest = '\x00'`,
			`UPDATE repositories SET state = 'deleting' WHERE tenant_id = $1 AND name = 'purged'`,
		}, func() (int, error) {
			work := 0
			err := s.write(ctx, noTenant, func(t *tx) error {
				var err error
				work, err = charging(purgeManifests)(t, 10)
				return err
			})
			return work, err
		}},
	} {
		t.Run(step.name, func(t *testing.T) {
			for _, owner := range []tenant.ID{second.Tenant, first.Tenant} { // in the table, too
				for _, statement := range step.prepare {
					mustRun(t, s, statement, owner)
				}
			}
			locksInOrder(t, s, first.Tenant, second.Tenant, step.run)
		})
	}
}

const (
	isPurged      = ` r.tenant_id = m.tenant_id AND r.id = m.repo_id AND r.name = 'purged' AND r.tenant_id = $1`
	ofPurged      = ` FROM repositories r WHERE` + isPurged
	thatArePurged = ` JOIN repositories r ON` + isPurged + ` WHERE true`
)

// locksInOrder checks that a step, which changes a row of each of two tenants, waits for the usage
// of the first one before it has that of the second, and does so before COMMIT, where the plan of its
// statements decides.
func locksInOrder(t *testing.T, s *Store, first, second tenant.ID, step func() (int, error)) {
	t.Helper()
	holder, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback(context.Background()) }()
	if _, err := holder.Exec(t.Context(), `SELECT 1 FROM usage WHERE tenant_id = $1 FOR UPDATE`, first); err != nil {
		t.Fatal(err)
	}
	var work int
	done := make(chan error, 1)
	go func() {
		var err error
		work, err = step()
		done <- err
	}()
	awaitLock(t, s, "the step waits")
	var waits string
	if err := holder.QueryRow(t.Context(), `SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waits); err != nil {
		t.Fatal(err)
	}
	if waits != lockUsage {
		t.Errorf("it waits for what the tenants use in %q, which has no order of its own", waits)
	}
	if _, err := holder.Exec(t.Context(), `SELECT 1 FROM usage WHERE tenant_id = $1 FOR UPDATE NOWAIT`, second); err != nil {
		t.Errorf("the step waits for the first tenant, and holds the second: %v", err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || work != 2 {
		t.Errorf("it changed %d rows, %v", work, err)
	}
}

// TestADeletedPrefetchWaitsForItsRun: a step holds the run, and then adds references. A tenant that
// is given up waits for it, too.
func TestADeletedPrefetchWaitsForItsRun(t *testing.T) {
	s := open(t, Options{})
	r := fill(t, s)
	by := meta.Cause{Op: uuid.New()}
	if _, err := s.CreateUpstream(t.Context(), by, meta.Upstream{Tenant: r.Tenant, Slug: "hub", Settings: meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: "https://hub.example"}}}); err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	for _, deletion := range []struct {
		name string
		run  func() error
	}{
		{"prefetch", func() error { return s.DeletePrefetch(ctx, meta.Cause{Op: uuid.New()}, r.Tenant, "base", 0) }},
		{"tenant", func() error {
			return s.write(ctx, noTenant, func(t *tx) error { return sqlmeta.GiveUpTenant(t.records(), r.Tenant) })
		}},
	} {
		t.Run(deletion.name, func(t *testing.T) {
			if _, err := s.CreatePrefetch(t.Context(), meta.Cause{Op: uuid.New()}, meta.Prefetch{Tenant: r.Tenant, Slug: "base", Upstream: "hub", References: []string{"a:1"}}); err != nil {
				t.Fatal(err)
			}
			step, err := s.pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = step.Rollback(context.Background()) }()
			if _, err := step.Exec(t.Context(), `UPDATE prefetch_runs SET total = 1`); err != nil {
				t.Fatal(err)
			}
			deleted := make(chan error, 1)
			go func() { deleted <- deletion.run() }()
			awaitLock(t, s, "the deletion waits")
			if _, err := step.Exec(t.Context(), `SELECT 1 FROM prefetches FOR KEY SHARE NOWAIT`); err != nil { // as an insert of a reference
				t.Errorf("the deletion waits for the run, and holds the prefetch: %v", err)
			}
			if err := step.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-deleted; err != nil {
				t.Error(err)
			}
		})
	}
}
