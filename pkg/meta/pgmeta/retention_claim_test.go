package pgmeta

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/retention"
)

// TestW125_ARunThatIsClaimedDuringAChangeIsEnded: the change waits for a deletion of one run
// while a worker claims another one.
func TestW125_ARunThatIsClaimedDuringAChangeIsEnded(t *testing.T) {
	s := open(t, Options{})
	clock := newClock(t, s)
	r := fill(t, s)
	policy := func(slug string) {
		t.Helper()
		_, err := s.CreateRetentionPolicy(t.Context(), meta.Cause{Op: uuid.New()}, meta.RetentionPolicy{
			Tenant: r.Tenant, Slug: slug, Enforced: true, Interval: 24 * time.Hour, MaxDeletions: 1,
			Policy: retention.Policy{Rules: []retention.Rule{{Name: "all", Action: retention.Delete}}},
		})
		if err != nil {
			t.Error(err)
		}
	}
	policy("b")
	policy("c")
	clock.Advance(meta.RetentionDelay)
	deleting, ok, err := s.ClaimRetention(t.Context(), uuid.New(), time.Hour)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	deletion, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deletion.Rollback(context.Background()) }()
	if _, err := deletion.Exec(t.Context(), `SELECT 1 FROM retention_runs WHERE slug = $1 FOR UPDATE`, deleting.Slug); err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		policy("a")
	}()
	awaitLock(t, s, "the change waits")
	worker := uuid.New()
	claimed, ok, err := s.ClaimRetention(t.Context(), worker, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if ok && claimed.Slug == deleting.Slug {
		t.Fatal("the run of the deletion is claimed twice")
	}
	if err := deletion.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-changed
	if !ok {
		return // the change has it locked already
	}
	step := meta.RetentionStep{Tenant: r.Tenant, Policy: claimed.Slug, Number: claimed.Run.Number, Worker: worker, Hold: time.Hour}
	if mine, err := s.AdvanceRetention(t.Context(), step, meta.RetentionProgress{}); err != nil || mine {
		t.Errorf("the worker has the run of %s still (%v)", claimed.Slug, err)
	}
}
