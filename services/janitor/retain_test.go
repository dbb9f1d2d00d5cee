package janitor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/janitor"
)

// newest keeps so many tags.
func newest(n int) []retention.Rule {
	return []retention.Rule{
		{Name: "newest", Action: retention.Keep, Conditions: retention.Conditions{Newest: n}},
		{Name: "rest", Action: retention.Delete},
	}
}

// policy makes an enforced policy, whose first run is due.
func (w *world) policy(slug string, rules []retention.Rule, edits ...func(*meta.RetentionPolicy)) {
	w.t.Helper()
	p := meta.RetentionPolicy{
		Tenant: w.repo.Tenant, Slug: slug, Enforced: true, Interval: 24 * time.Hour, MaxDeletions: 1000, Policy: retention.Policy{Rules: rules},
	}
	for _, edit := range edits {
		edit(&p)
	}
	_, err := w.Meta.CreateRetentionPolicy(w.t.Context(), fronttest.By(), p)
	w.must(err)
	w.now = w.now.Add(meta.RetentionDelay)
}

func (w *world) retainer(edits ...func(*janitor.RetainConfig)) *janitor.Retainer {
	c := janitor.RetainConfig{Meta: w.Meta}
	for _, edit := range edits {
		edit(&c)
	}
	return janitor.NewRetainer(c)
}

// retain does what is due and returns the run of a policy.
func (w *world) retain(r *janitor.Retainer, slug string) meta.RetentionRun {
	w.t.Helper()
	for {
		worked, err := r.Step(w.t.Context())
		w.must(err)
		if !worked {
			return w.ran(slug)
		}
	}
}

func (w *world) ran(slug string) meta.RetentionRun {
	w.t.Helper()
	p, err := w.Meta.FindRetentionPolicy(w.t.Context(), w.repo.Tenant, slug)
	w.must(err)
	return p.Run
}

// tag pushes an image of its own under tags, a second later than the one before.
func (w *world) tag(repository string, tags ...string) oci.Digest {
	w.t.Helper()
	r := w.repo
	r.Name = repository
	layer := repository + tags[0]
	w.PutBlob(r, []byte(layer))
	w.PutBlob(r, []byte("{}"))
	m := ocitest.Manifest(ocitest.Empty(), ocitest.Layer([]byte(layer)))
	w.PutManifest(r, m.Bytes, tags...)
	w.now = w.now.Add(time.Second)
	return m.Digest
}

// tags lists those of a repository.
func (w *world) tags(repository string) string {
	w.t.Helper()
	r := w.repo
	r.Name = repository
	all, err := w.Meta.ListTags(w.t.Context(), r, meta.Page{Size: 1000})
	if err != nil && !fault.Is(err, fault.NameUnknown) {
		w.t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestW130_ARunDeletesWhatItsPolicySays(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.tag("app", fmt.Sprint("v", i))
		w.tag("team/app", fmt.Sprint("v", i))
	}
	w.policy("old", newest(2), func(p *meta.RetentionPolicy) { p.Repositories = []string{"app"} })
	reg := prometheus.NewRegistry()
	r := w.retainer(func(c *janitor.RetainConfig) { c.Metrics = reg })
	run := w.retain(r, "old")
	if got := w.tags("app"); got != "v3 v4" {
		t.Errorf("left: %s", got)
	}
	if got := w.tags("team/app"); got != "v0 v1 v2 v3 v4" {
		t.Errorf("of a repository that it does not name: %s", got)
	}
	if run.Repositories != 1 || run.Deletions != 3 || run.Tags != 3 || run.Manifests != 3 || run.Bytes == 0 || run.EndedAt.IsZero() || run.Limited || !run.Enforced {
		t.Errorf("%+v", run)
	}
	if got := w.told("manifest.delete"); len(got) != 3 || got[0].Actor != "retentionPolicies/old" || !strings.Contains(got[0].Changes, "rest") {
		t.Errorf("told %+v", got)
	}
	if got := w.told(meta.RetentionRan); len(got) != 1 || !strings.Contains(got[0].Changes, `"manifests","old":"","new":"3"`) {
		t.Errorf("told %+v", got)
	}
	if trash, err := w.Meta.ListTrash(t.Context(), w.repo, meta.Page{Size: 10}); err != nil || len(trash) != 3 {
		t.Errorf("in the trash: %+v, %v", trash, err)
	}
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP berth_retention_deleted_total Tags and manifests that retention policies deleted.
# TYPE berth_retention_deleted_total counter
berth_retention_deleted_total{kind="manifest"} 3
berth_retention_deleted_total{kind="tag"} 3
`), "berth_retention_deleted_total")
	w.must(err)
	if found := w.findings(); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// TestW131_AnObservingPolicyDeletesNothing, and says what it would delete, also of what an
// enforced policy after it decides about, and not of what one before it does.
func TestW131_AnObservingPolicyDeletesNothing(t *testing.T) {
	w := newWorld(t)
	for _, repository := range []string{"app", "before"} {
		for i := range 4 {
			w.tag(repository, fmt.Sprint("v", i))
		}
	}
	observe := func(p *meta.RetentionPolicy) { p.Enforced = false }
	w.policy("b", newest(1), observe)
	r := w.retainer()
	if run := w.retain(r, "b"); run.Deletions != 6 || run.Manifests != 6 || run.Repositories != 2 || run.Bytes == 0 || run.Enforced {
		t.Errorf("%+v", run)
	}
	if w.tags("app")+w.tags("before") != "v0 v1 v2 v3v0 v1 v2 v3" || len(w.told("manifest.delete")) != 0 {
		t.Errorf("left: %s, %s", w.tags("app"), w.tags("before"))
	}
	if got := w.told(meta.RetentionRan); len(got) != 1 || !strings.Contains(got[0].Changes, "OBSERVE") || !strings.Contains(got[0].Changes, `"manifests","old":"","new":"6"`) {
		t.Errorf("told %+v", got)
	}
	w.policy("a", newest(3), func(p *meta.RetentionPolicy) { p.Repositories = []string{"before"} })
	w.policy("c", newest(2))
	w.retain(r, "c")
	if w.tags("app")+", "+w.tags("before") != "v2 v3, v1 v2 v3" {
		t.Errorf("left: %s, %s", w.tags("app"), w.tags("before"))
	}
	w.now = w.now.Add(24 * time.Hour)
	if run := w.retain(r, "b"); run.Number != 2 || run.Deletions != 1 || run.Repositories != 1 {
		t.Errorf("%+v", run)
	}
}

func TestW132_ARunEndsAtItsLimit(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		w.tag("app", fmt.Sprint("v", i))
	}
	w.policy("old", newest(1), func(p *meta.RetentionPolicy) { p.MaxDeletions = 4 })
	r := w.retainer()
	for _, left := range []int{6, 2, 1} {
		run := w.retain(r, "old")
		if got := len(strings.Fields(w.tags("app"))); got != left || run.Limited != (left > 1) || run.Deletions > 4 {
			t.Errorf("%d left, want %d: %+v", got, left, run)
		}
		w.now = w.now.Add(24 * time.Hour)
	}
	if got := w.told("manifest.delete"); len(got) != 9 {
		t.Errorf("%d deletions are told", len(got))
	}
}

// TestW132_ARunEndsBetweenImages: not between one and its signature, unless the limit is
// lower than that.
func TestW132_ARunEndsBetweenImages(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		image := w.tag("app", fmt.Sprint("v", i))
		w.tag("app", "sha256-"+image.Hex()+".sig")
	}
	w.policy("old", []retention.Rule{{Name: "all", Action: retention.Delete}}, func(p *meta.RetentionPolicy) { p.MaxDeletions = 3 })
	r := w.retainer()
	for _, left := range []int{4, 2, 0} {
		if run := w.retain(r, "old"); len(strings.Fields(w.tags("app"))) != left || run.Deletions != 2 || run.Limited != (left > 0) {
			t.Errorf("left are %s, want %d: %+v", w.tags("app"), left, run)
		}
		w.now = w.now.Add(24 * time.Hour)
	}
}

// TestW121_NothingGoesFromAReadOnlyRegistry: a registry that is read-only keeps all it has.
func TestW121_NothingGoesFromAReadOnlyRegistry(t *testing.T) {
	w := newWorld(t)
	w.tag("app", "v1")
	w.policy("old", []retention.Rule{{Name: "all", Action: retention.Delete}})
	found, err := w.Meta.ListRegistries(t.Context(), w.repo.Tenant, meta.Page{Size: 1})
	w.must(err)
	found[0].Settings.ReadOnly = true
	_, err = w.Meta.UpdateRegistry(t.Context(), fronttest.By(), found[0])
	w.must(err)
	if run := w.retain(w.retainer(), "old"); run.Deletions != 0 || run.Repositories != 0 || w.tags("app") != "v1" {
		t.Errorf("left are %s: %+v", w.tags("app"), run)
	}
}

// TestW133_AManifestWithVeryManyTags goes in transactions of few of them.
func TestW133_AManifestWithVeryManyTags(t *testing.T) {
	w := newWorld(t)
	tags := make([]string, 1100)
	for i := range tags {
		tags[i] = fmt.Sprintf("t%04d", i)
	}
	w.tag("app", tags...)
	w.policy("old", []retention.Rule{{Name: "all", Action: retention.Delete}})
	if run := w.retain(w.retainer(), "old"); run.Tags != 1100 || run.Manifests != 1 || run.Deletions != 701 || run.Refused != 0 {
		t.Errorf("%+v", run)
	}
	if got := w.tags("app"); got != "" {
		t.Errorf("left: %s", got)
	}
}

// cut lets the process end after a number of deletions, or after an evaluation.
type cut struct {
	janitor.RetainMeta
	deletions int
	end       context.CancelFunc
}

func (c *cut) DeleteEvaluated(ctx context.Context, d meta.RetentionDeletion) error {
	if c.deletions--; c.deletions < 0 {
		c.end()
		return ctx.Err()
	}
	return c.RetainMeta.DeleteEvaluated(ctx, d)
}

// TestW134_ARunThatIsCutOffIsContinued, by another worker, from a new evaluation: what was
// pushed, pulled or tagged meanwhile decides.
func TestW134_ARunThatIsCutOffIsContinued(t *testing.T) {
	for _, deletions := range []int{0, 1, 3} {
		w := newWorld(t)
		for i := range 6 {
			w.tag("app", fmt.Sprint("v", i))
			w.tag("b", fmt.Sprint("v", i))
		}
		w.policy("old", newest(2))
		ctx, cancel := context.WithCancel(t.Context())
		first := w.retainer(func(c *janitor.RetainConfig) { c.Meta = &cut{w.Meta, deletions, cancel} })
		if _, err := first.Step(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("cut off: %v", err)
		}
		if run := w.ran("old"); run.Deletions != int64(deletions) || !run.EndedAt.IsZero() {
			t.Errorf("cut off after %d: %+v", deletions, run)
		}
		w.tag("app", "v9") // pushes v4 out
		run := w.retain(w.retainer(), "old")
		if w.tags("app")+", "+w.tags("b") != "v5 v9, v4 v5" || run.Number != 1 || run.Deletions != 9 || run.Repositories != 2 {
			t.Errorf("after %d: %s, %s, %+v", deletions, w.tags("app"), w.tags("b"), run)
		}
		if got := len(w.told("manifest.delete")); got != 9 {
			t.Errorf("%d deletions are told", got)
		}
		if found := w.findings(); len(found) > 0 {
			t.Errorf("%+v", found)
		}
	}
}

// TestR10_W135_KilledBetweenPullAndBatch: a run decides only once all pulls before it are
// known, or a killed process makes everything count as pulled.
func TestR10_W135_KilledBetweenPullAndBatch(t *testing.T) {
	w := newWorld(t)
	const month = 30 * 24 * time.Hour
	idle := []retention.Rule{{Name: "idle", Action: retention.Delete, Conditions: retention.Conditions{NotPulledFor: month}}}
	d := w.tag("app", "v1")
	w.tag("app", "v2")
	killed, other := uuid.New(), uuid.New()
	numbers := map[uuid.UUID]int64{}
	flush := func(id uuid.UUID, pulls ...meta.HostedPull) {
		numbers[id]++
		w.must(w.Meta.RecordHostedPulls(t.Context(), meta.PullBatch{Recorder: id, Number: numbers[id], Whole: true, Pulls: pulls}))
	}
	for _, id := range []uuid.UUID{killed, other} {
		w.must(w.Meta.BeginPulls(t.Context(), id))
	}
	w.now = w.now.Add(meta.PullsBegin + month + meta.PullSlack)
	flush(killed)
	flush(other)
	w.policy("idle", idle)
	pulled := w.now // by killed, which says nothing any more
	r := w.retainer()
	for range 50 { // minutes
		if run := w.retain(r, "idle"); !run.EndedAt.IsZero() || w.tags("app") != "v1 v2" {
			t.Fatalf("%+v, left: %s", run, w.tags("app"))
		}
		w.now = w.now.Add(time.Minute)
		flush(other)
	}
	for w.now.Before(pulled.Add(month)) {
		w.now = w.now.Add(5 * time.Minute)
		if _, err := w.Meta.EndLostRecorders(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		w.retain(r, "idle")
		if got := w.tags("app"); got != "v1 v2" {
			t.Fatalf("%s after a pull, left: %s", w.now.Sub(pulled), got)
		}
		w.now = w.now.Add(6 * time.Hour)
		w.must(w.Meta.BeginPulls(t.Context(), other)) // it was not heard of for longer than a process may be
		flush(other)
		flush(other, meta.HostedPull{Repo: w.repo, Digest: d, Tag: "v1", Times: 1})
	}
	w.now = w.now.Add(2 * month)
	flush(other)
	flush(other, meta.HostedPull{Repo: w.repo, Digest: d, Tag: "v1", Times: 1})
	w.now = w.now.Add(time.Minute)
	for range 3 { // the run that is due began before these pulls are known
		w.retain(r, "idle")
		w.now = w.now.Add(24 * time.Hour)
		flush(other)
		flush(other)
	}
	if got := w.tags("app"); got != "v1" {
		t.Errorf("left: %s", got)
	}
}
