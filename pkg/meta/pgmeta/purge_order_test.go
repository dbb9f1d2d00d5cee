package pgmeta

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// TestAPurgeLocksTenantsInOrder: two janitors that purge content of the same tenants do not wait
// for each other, in whatever order they meet the rows.
func TestAPurgeLocksTenantsInOrder(t *testing.T) {
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
	mustRun(t, s, `UPDATE repositories SET state = 'deleting' WHERE name = 'purged'`)
	mustRun(t, s, `DELETE FROM tags g USING repositories r WHERE r.tenant_id = g.tenant_id AND r.id = g.repo_id AND r.name = 'purged'`)

	holder, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback(context.Background()) }()
	if _, err := holder.Exec(t.Context(), `SELECT 1 FROM usage WHERE tenant_id = $1 FOR UPDATE`, first.Tenant); err != nil {
		t.Fatal(err)
	}
	purged := make(chan error, 1)
	go func() {
		purged <- s.write(context.WithoutCancel(t.Context()), noTenant, func(t *tx) error {
			_, err := charging(purgeManifests)(t, 10)
			return err
		})
	}()
	awaitLock(t, s, "the purge waits")
	if _, err := holder.Exec(t.Context(), `SELECT 1 FROM usage WHERE tenant_id = $1 FOR UPDATE NOWAIT`, second.Tenant); err != nil {
		t.Errorf("the purge waits for the first tenant, and holds the second: %v", err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-purged; err != nil {
		t.Error(err)
	}
	var left int
	if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM manifests`).Scan(&left); err != nil || left != 1 {
		t.Errorf("%d manifests are left, %v", left, err)
	}
}

// TestADeletedPrefetchWaitsForItsRun: a step holds the run, and then adds references.
func TestADeletedPrefetchWaitsForItsRun(t *testing.T) {
	s := open(t, Options{})
	r := fill(t, s)
	by := meta.Cause{Op: uuid.New()}
	if _, err := s.CreateUpstream(t.Context(), by, meta.Upstream{Tenant: r.Tenant, Slug: "hub", Settings: meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: "https://hub.example"}}}); err != nil {
		t.Fatal(err)
	}
	by.Op = uuid.New()
	if _, err := s.CreatePrefetch(t.Context(), by, meta.Prefetch{Tenant: r.Tenant, Slug: "base", Upstream: "hub", References: []string{"a:1"}}); err != nil {
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
	go func() {
		deleted <- s.DeletePrefetch(context.WithoutCancel(t.Context()), meta.Cause{Op: uuid.New()}, r.Tenant, "base", 0)
	}()
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
}
