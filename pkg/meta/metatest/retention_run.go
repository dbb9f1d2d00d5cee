package metatest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/retention"
)

const hold = time.Minute

// claimed is a worker in its run.
type claimed struct {
	world
	meta.RetentionPolicy
	step meta.RetentionStep
}

// claim lets another worker claim a run.
func (w world) claim() (*claimed, bool) {
	w.t.Helper()
	worker := uuid.New()
	p, ok, err := w.Store.ClaimRetention(w.t.Context(), worker, hold)
	w.must(err)
	step := meta.RetentionStep{Tenant: p.Tenant, Policy: p.Slug, Number: p.Run.Number, Worker: worker, Hold: hold}
	return &claimed{w, p, step}, ok
}

func (w world) mustClaim() *claimed {
	w.t.Helper()
	c, ok := w.claim()
	if !ok {
		w.t.Fatal("no run is due")
	}
	return c
}

// enforce adds an enforced policy and claims its run.
func (w world) enforce(rules ...retention.Rule) *claimed {
	w.t.Helper()
	p := w.retentionPolicy("old", rules...)
	p.Enforced = true
	w.addRetention(p)
	w.Advance(meta.RetentionDelay)
	return w.mustClaim()
}

// evaluate are the deletions that the policy decides on, with what each was decided by.
func (c *claimed) evaluate(r meta.Repo) []meta.RetentionDeletion {
	c.t.Helper()
	result := c.Evaluate(c.contentOf(r), c.accounting().Moment(c.Run.BeganAt))
	bases := c.Bases(result)
	var all []meta.RetentionDeletion
	for _, d := range result.Deletions {
		by := meta.Cause{Op: uuid.New(), Actor: meta.RetentionPolicyTarget(c.Slug), Changes: []meta.Change{{Field: "retention_rule", New: d.Rule}}}
		all = append(all, meta.RetentionDeletion{Step: c.step, Repo: r, Deletion: d, Basis: bases.Of(d), By: by})
	}
	return all
}

// one is the only one of them.
func (c *claimed) one(r meta.Repo) meta.RetentionDeletion {
	c.t.Helper()
	all := c.evaluate(r)
	if len(all) != 1 {
		c.t.Fatalf("%d deletions, want 1: %+v", len(all), all)
	}
	return all[0]
}

func (w world) runOf(slug string) meta.RetentionRun {
	w.t.Helper()
	p, err := w.Store.FindRetentionPolicy(w.t.Context(), w.tenant, slug)
	w.must(err)
	return p.Run
}

// otherwise fails the test unless err says that what a deletion was decided by has changed.
func (w world) otherwise(err error, why string) {
	w.t.Helper()
	w.refused(err, fault.Conflict, fault.EtagMismatch)
	if errors.Is(err, meta.ErrRunLost) || !strings.Contains(err.Error(), why) {
		w.t.Fatalf("got %v, want %q", err, why)
	}
}

func testRetentionRuns(t *testing.T, open Open) {
	t.Run("W122 a run is of one worker, and of another one when that is not heard of", func(t *testing.T) {
		w := newWorld(t, open)
		w.addRetention(w.retentionPolicy("old"))
		first := w.mustClaim()
		if first.Run.Number != 1 || !first.Run.BeganAt.Equal(w.Now()) || !first.Run.EndedAt.IsZero() || first.Run.Enforced {
			t.Errorf("begun: %+v", first.Run)
		}
		if _, ok := w.claim(); ok {
			t.Error("two workers have one run")
		}
		w.Advance(hold / 2)
		far := meta.RetentionProgress{Registry: "main", Repository: "app", Repositories: 3, Deletions: 5, Tags: 4, Manifests: 2, Bytes: 100, Protected: 1, Refused: 6}
		mine, err := w.Store.AdvanceRetention(t.Context(), first.step, far)
		if err != nil || !mine {
			t.Fatalf("%t, %v", mine, err)
		}
		w.Advance(hold / 2)
		if _, ok := w.claim(); ok {
			t.Error("a run is taken whose worker was heard of")
		}
		w.Advance(hold / 2)
		second := w.mustClaim()
		if second.Run.Number != 1 || second.Run.RetentionProgress != far || !second.Run.BeganAt.Equal(first.Run.BeganAt) {
			t.Errorf("continued: %+v", second.Run)
		}
		if mine, err := w.Store.AdvanceRetention(t.Context(), first.step, far); err != nil || mine {
			t.Errorf("the first worker still has it: %v", err)
		}
		if ended, err := w.Store.EndRetention(t.Context(), cause(), first.step, far, false); err != nil || ended {
			t.Errorf("the first worker ends it: %v", err)
		}
		w.must(w.Store.ReleaseRetention(t.Context(), first.step, 0, "late"))
		by := cause()
		for range 2 { // the answer to the first was lost
			if ended, err := w.Store.EndRetention(t.Context(), by, second.step, far, true); err != nil || !ended {
				t.Fatalf("%t, %v", ended, err)
			}
		}
		if r := w.runOf("old"); !r.EndedAt.Equal(w.Now()) || !r.Limited || r.Tags != 4 || !r.DueAt.Equal(first.Run.BeganAt.Add(24*time.Hour)) {
			t.Errorf("ended: %+v", r)
		}
		w.Advance(24 * time.Hour)
		if next := w.mustClaim(); next.Run.Number != 2 || next.Run.RetentionProgress != (meta.RetentionProgress{}) || next.Run.Limited {
			t.Errorf("the next run: %+v", next.Run)
		}
		w.told("retentionPolicy.run retentionPolicies/old", "retentionPolicy.create retentionPolicies/old")
	})
	t.Run("W122 a run that cannot continue waits, and says why", func(t *testing.T) {
		w := newWorld(t, open)
		w.addRetention(w.retentionPolicy("old"))
		c := w.mustClaim()
		w.must(w.Store.ReleaseRetention(t.Context(), c.step, time.Minute, "no answer"))
		if _, ok := w.claim(); ok || w.runOf("old").Failure != "no answer" {
			t.Errorf("at once: %t, %+v", ok, w.runOf("old"))
		}
		w.Advance(time.Minute)
		if again := w.mustClaim(); again.Run.Number != 1 {
			t.Errorf("%+v", again.Run)
		}
	})
	t.Run("W122 runs begin at their times, or when they are asked for", func(t *testing.T) {
		w := newWorld(t, open)
		enforced, manual, disabled := w.retentionPolicy("enforced"), w.retentionPolicy("manual"), w.retentionPolicy("disabled")
		enforced.Enforced, manual.Interval, disabled.Disabled = true, 0, true
		for _, p := range []meta.RetentionPolicy{enforced, manual, disabled} {
			w.addRetention(p)
		}
		if c, ok := w.claim(); ok {
			t.Fatalf("%s runs at once", c.Slug)
		}
		w.Advance(meta.RetentionDelay)
		c := w.mustClaim()
		if c.Slug != "enforced" || !c.Run.Enforced {
			t.Errorf("%+v", c.RetentionPolicy)
		}
		w.Advance(time.Second)
		_, err := w.Store.RunRetentionPolicy(t.Context(), cause(), w.tenant, "enforced") // it runs already
		w.must(err)
		_, err = w.Store.RunRetentionPolicy(t.Context(), cause(), w.tenant, "manual")
		w.must(err)
		m := w.mustClaim()
		if m.Slug != "manual" {
			t.Errorf("%+v", m.RetentionPolicy)
		}
		if c, ok := w.claim(); ok {
			t.Errorf("%s runs", c.Slug)
		}
		_, err = w.Store.EndRetention(t.Context(), cause(), m.step, meta.RetentionProgress{}, false)
		w.must(err)
		if r := w.runOf("manual"); !r.DueAt.IsZero() || r.EndedAt.IsZero() {
			t.Errorf("%+v", r)
		}
	})
	t.Run("W123 a deletion is counted, told and trashed in one transaction", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		blob := w.push(r, "the blob")
		image := w.put(r, w.image(nil, blob), "v1", "v2")
		c := w.enforce()
		d := c.one(r)
		for range 2 { // the answer to the first was lost
			w.must(w.Store.DeleteEvaluated(t.Context(), d))
		}
		want := meta.RetentionProgress{Deletions: 1, Tags: 2, Manifests: 1, Bytes: int64(len(image.Payload)) + blob.Size}
		if got := w.runOf("old"); got.RetentionProgress != want {
			t.Errorf("counted %+v, want %+v", got.RetentionProgress, want)
		}
		if w.tagged(r, "v1") != "" {
			t.Error("the tag is there")
		}
		events, err := w.Store.ListEvents(t.Context(), w.tenant, meta.Page{Size: 1})
		w.must(err)
		if e := events[0]; e.Verb != "manifest.delete" || e.Actor != "retentionPolicies/old" ||
			!strings.Contains(e.Changes, `"retention_rule","old":"","new":"tags"`) || !strings.Contains(e.Changes, "tag v2") {
			t.Errorf("told %+v", e)
		}
		history, err := w.Store.ListTagHistory(t.Context(), r, "v1", meta.Page{Size: 1})
		w.must(err)
		if len(history) != 1 || history[0].Verb != meta.TagDeleted || history[0].Actor != "retentionPolicies/old" {
			t.Errorf("history %+v", history)
		}
		w.must(w.undelete(r, image.Digest))
		if w.tagged(r, "v2") != image.Digest {
			t.Error("it cannot be restored")
		}
		w.consistent()
	})
	t.Run("W123 a tag goes alone while another one keeps its manifest", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.put(r, w.image(nil, w.push(r, "a")), "v1", "keep")
		c := w.enforce(retention.Rule{Name: "v", Action: retention.Delete, Selector: retention.Selector{Tags: []string{"v*"}}})
		d := c.one(r)
		w.must(w.Store.DeleteEvaluated(t.Context(), d))
		if w.tagged(r, "v1") != "" || w.tagged(r, "keep") != image.Digest {
			t.Error("wrong tags are left")
		}
		if got := w.runOf("old"); got.Deletions != 1 || got.Tags != 1 || got.Manifests != 0 {
			t.Errorf("counted %+v", got)
		}
		events, err := w.Store.ListEvents(t.Context(), w.tenant, meta.Page{Size: 1})
		w.must(err)
		if e := events[0]; e.Verb != "tag.delete" || e.Actor != "retentionPolicies/old" || !strings.Contains(e.Changes, "retention_rule") {
			t.Errorf("told %+v", e)
		}
		w.consistent()
	})
	testRetentionRefusals(t, open)
	t.Run("W126 deletions of a run against pushes, moves, signatures, pulls and a change of the policy", func(t *testing.T) { raceRetention(newWorld(t, open)) })
}

// testRetentionRefusals changes what a deletion was decided by, after that.
func testRetentionRefusals(t *testing.T, open Open) {
	asks := []retention.Rule{
		{Name: "idle", Action: retention.Delete, Conditions: retention.Conditions{NotPulledFor: time.Hour}},
		{Name: "untagged", Action: retention.Delete, Selector: retention.Selector{Untagged: true}, Conditions: retention.Conditions{NotPulledFor: time.Hour}},
	}
	for _, c := range []struct {
		name    string
		rules   []retention.Rule
		changes func(w world, r meta.Repo, image meta.ManifestPut, pulls *process)
		why     string // empty: the deletion is done
	}{
		{"nothing has changed", nil, func(world, meta.Repo, meta.ManifestPut, *process) {}, ""},
		{"its tag was pushed again", nil, func(w world, r meta.Repo, image meta.ManifestPut, _ *process) { w.put(r, image, "v1") }, ""},
		{"another image was pulled", asks, func(w world, r meta.Repo, _ meta.ManifestPut, p *process) {
			other := w.put(r, w.image(nil, w.push(r, "other")), "other")
			p.flush(meta.HostedPull{Repo: r, Digest: other.Digest, Times: 1})
		}, ""},
		{"it was pulled, which no rule asks for", nil, func(_ world, r meta.Repo, image meta.ManifestPut, p *process) {
			p.flush(meta.HostedPull{Repo: r, Digest: image.Manifest.Digest, Times: 1})
		}, ""},
		{"it was pulled", asks, func(_ world, r meta.Repo, image meta.ManifestPut, p *process) {
			p.flush(meta.HostedPull{Repo: r, Digest: image.Manifest.Digest, Tag: "v1", Times: 1})
		}, "the manifest was pulled"},
		{"it has another tag", nil, func(w world, r meta.Repo, image meta.ManifestPut, _ *process) { w.put(r, image, "v2") }, "a tag of the manifest moved"},
		{"its tag moved", nil, func(w world, r meta.Repo, _ meta.ManifestPut, _ *process) {
			w.put(r, w.image(nil, w.push(r, "other")), "v1")
		}, "a tag of the manifest moved"},
		{"its tag moved, and came back", nil, func(w world, r meta.Repo, image meta.ManifestPut, _ *process) {
			w.put(r, w.image(nil, w.push(r, "other")), "v1")
			w.Advance(time.Second)
			w.put(r, image, "v1")
		}, "a tag of the manifest moved"},
		{"it was deleted and pushed again", nil, func(w world, r meta.Repo, image meta.ManifestPut, _ *process) {
			w.must(w.tryDelete(r, image.Manifest.Digest))
			w.Advance(time.Second)
			w.put(r, image, "v1")
		}, "the manifest was pushed"},
		{"it was deleted", nil, func(w world, r meta.Repo, image meta.ManifestPut, _ *process) {
			w.must(w.tryDelete(r, image.Manifest.Digest))
		}, "the manifest was deleted"},
		{"it was signed", nil, func(w world, r meta.Repo, image meta.ManifestPut, _ *process) {
			w.put(r, w.artifact(descriptor(image.Manifest), "application/sig", nil, w.push(r, "sig")))
		}, "a companion of the manifest was pushed"},
		{"it was signed by a tag", nil, func(w world, r meta.Repo, image meta.ManifestPut, _ *process) {
			w.put(r, w.image(nil, w.push(r, "sig")), strings.Replace(image.Manifest.Digest.String(), ":", "-", 1)+".sig")
		}, "a companion of the manifest was pushed"},
	} {
		t.Run("W124 "+c.name, func(t *testing.T) {
			w := newWorld(t, open)
			r := w.repo("app")
			image := w.image(nil, w.push(r, "a"))
			w.put(r, image, "v1")
			p := w.process()
			w.Advance(meta.PullsBegin + time.Hour + meta.PullSlack)
			run := w.enforce(c.rules...)
			w.Advance(time.Second)
			p.flush()
			p.flush()
			d := run.one(r)
			w.Advance(time.Second)
			c.changes(w, r, image, p)
			err := w.Store.DeleteEvaluated(t.Context(), d)
			if c.why == "" {
				w.must(err)
				return
			}
			w.otherwise(err, c.why)
			if got := w.runOf("old"); got.Deletions != 0 {
				t.Errorf("counted %+v", got)
			}
			w.consistent()
		})
	}
	t.Run("W124 an index names it by now", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.put(r, w.image(nil, w.push(r, "a")), "v1")
		d := w.enforce().one(r)
		w.put(r, w.index(image))
		w.refused(w.Store.DeleteEvaluated(t.Context(), d), fault.Unsupported, fault.UnsupportedReason)
		w.consistent()
	})
	t.Run("W124 a tag rule protects it by now, unless the policy may", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.put(r, w.image(nil, w.push(r, "a")), "1.0.0")
		d := w.enforce().one(r)
		w.addTagRule(w.tagRule("releases"))
		w.refused(w.Store.DeleteEvaluated(t.Context(), d), fault.Denied, fault.DeniedReason)
		d.By.OverrideTagRules = true
		w.must(w.Store.DeleteEvaluated(t.Context(), d))
		w.consistent()
	})
	t.Run("W124 a tag alone that moved stays", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "a"))
		w.put(r, image, "v1", "keep")
		d := w.enforce(retention.Rule{Name: "v", Action: retention.Delete, Selector: retention.Selector{Tags: []string{"v*"}}}).one(r)
		other := w.put(r, w.image(nil, w.push(r, "b")), "v1")
		w.otherwise(w.Store.DeleteEvaluated(t.Context(), d), "the tag moved")
		if w.tagged(r, "v1") != other.Digest {
			t.Error("it is gone")
		}
		w.put(r, image, "v1") // as it was, by another version
		w.otherwise(w.Store.DeleteEvaluated(t.Context(), d), "the tag moved")
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
		w.refused(w.Store.DeleteEvaluated(t.Context(), d), fault.NotFound, fault.ManifestUnknown)
		w.consistent()
	})
	t.Run("W124 an untagged manifest that had a tag meanwhile stays", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "a"))
		w.put(r, image)
		d := w.enforce().one(r)
		w.put(r, image, "v1")
		w.Advance(time.Second)
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
		w.otherwise(w.Store.DeleteEvaluated(t.Context(), d), "a tag of the manifest moved")
		w.consistent()
	})
	t.Run("W124 a companion stays with what it accompanies, and a pull of it keeps both", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.put(r, w.image(nil, w.push(r, "a")), "v1")
		signature := w.put(r, w.artifact(descriptor(image), "application/sig", nil, w.push(r, "sig")))
		p := w.process()
		w.Advance(meta.PullsBegin + time.Hour + meta.PullSlack)
		c := w.enforce(asks...)
		w.Advance(time.Second)
		p.flush()
		p.flush()
		both := c.evaluate(r)
		if len(both) != 2 || both[0].Deletion.Digest != image.Digest || both[1].Deletion.Digest != signature.Digest {
			t.Fatalf("%+v", both)
		}
		w.Advance(time.Second)
		p.flush(meta.HostedPull{Repo: r, Digest: signature.Digest, Times: 1})
		w.otherwise(w.Store.DeleteEvaluated(t.Context(), both[0]), "the manifest was pulled")
		w.otherwise(w.Store.DeleteEvaluated(t.Context(), both[1]), "what the manifest accompanies was pushed, or stays")
		w.consistent()
	})
	t.Run("W125 a change of any policy of the tenant ends what was decided before", func(t *testing.T) {
		for _, c := range []struct {
			name   string
			change func(w world, p meta.RetentionPolicy) error
			ended  bool // the run, too
		}{
			{"it observes", func(w world, p meta.RetentionPolicy) error {
				p.Enforced = false
				_, err := w.Store.UpdateRetentionPolicy(w.t.Context(), cause(), p)
				return err
			}, true},
			{"it is disabled", func(w world, p meta.RetentionPolicy) error {
				p.Disabled = true
				_, err := w.Store.UpdateRetentionPolicy(w.t.Context(), cause(), p)
				return err
			}, true},
			{"another one comes before it", func(w world, _ meta.RetentionPolicy) error {
				first := w.retentionPolicy("first")
				first.Enforced = true
				_, err := w.Store.CreateRetentionPolicy(w.t.Context(), cause(), first)
				return err
			}, false},
			{"it is deleted", func(w world, p meta.RetentionPolicy) error {
				return w.Store.DeleteRetentionPolicy(w.t.Context(), cause(), w.tenant, p.Slug, 0)
			}, true},
		} {
			w := newWorld(t, open)
			r := w.repo("app")
			w.put(r, w.image(nil, w.push(r, "a")), "v1")
			run := w.enforce()
			d := run.one(r)
			w.must(c.change(w, run.RetentionPolicy))
			err := w.Store.DeleteEvaluated(t.Context(), d)
			if w.refused(err, fault.Conflict, fault.EtagMismatch); !errors.Is(err, meta.ErrRunLost) {
				t.Errorf("%s: %v", c.name, err)
			}
			if mine, err := w.Store.AdvanceRetention(t.Context(), run.step, meta.RetentionProgress{}); err != nil || mine {
				t.Errorf("%s: the worker has its run still (%v)", c.name, err)
			}
			if !c.ended {
				if again := w.mustClaim(); again.Slug != "old" || again.Run.Number != run.Run.Number {
					t.Errorf("%s: %+v", c.name, again.RetentionPolicy)
				}
			}
			w.consistent()
		}
	})
}

// raceRetention lets the deletions of a run meet pushes, moves, pulls, signatures and a
// change of the policy: what stays has all that leads to it.
func raceRetention(w world) {
	r := w.repo("app")
	p := w.process()
	for range 5 {
		var images []meta.ManifestPut
		for i := range 4 {
			images = append(images, w.image(nil, w.push(r, fmt.Sprint(i))))
			w.put(r, images[i], fmt.Sprint("v", i), fmt.Sprint("w", i))
		}
		policy := w.retentionPolicy("old")
		policy.Enforced = true
		made := w.addRetention(policy)
		w.Advance(meta.RetentionDelay)
		c := w.mustClaim()
		moved := w.image(nil, w.push(r, "moved"))
		deletions := c.evaluate(r)
		var all []func()
		for _, d := range deletions {
			all = append(all, func() {
				if err := w.Store.DeleteEvaluated(w.t.Context(), d); fault.KindOf(err) != fault.Conflict && fault.KindOf(err) != fault.NotFound {
					w.fine(err)
				}
			})
		}
		signed := false
		all = append(all,
			func() { w.fine(w.tryPut(r, moved, "v0")) },
			func() {
				signature := w.artifact(descriptor(images[1].Manifest), "application/sig", nil, w.push(r, "sig"))
				err := w.tryPut(r, signature)
				w.fine(err)
				signed = err == nil
			},
			func() {
				p.number++
				w.fine(w.Store.RecordHostedPulls(w.t.Context(), meta.PullBatch{Recorder: p.id, Number: p.number, Whole: true, Pulls: []meta.HostedPull{
					{Repo: r, Digest: images[2].Manifest.Digest, Tag: "v2", Times: 1},
					{Repo: r, Digest: images[3].Manifest.Digest, Times: 1},
				}}))
			},
			func() {
				made.Enforced = false
				_, err := w.Store.UpdateRetentionPolicy(w.t.Context(), cause(), made)
				w.fine(err)
			},
		)
		together(all...)
		if w.tagged(r, "v0") != moved.Manifest.Digest {
			w.t.Error("the tag that moved is gone")
		}
		if !signed {
			w.t.Error("the signature was refused")
		}
		before := w.runOf("old")
		for _, d := range deletions { // the policy observes by now
			if err := w.Store.DeleteEvaluated(w.t.Context(), d); err != nil && !errors.Is(err, meta.ErrRunLost) {
				w.t.Errorf("%v after the change was answered", err)
			}
		}
		if after := w.runOf("old"); !slices.Equal([]int64{after.Deletions, after.Tags}, []int64{before.Deletions, before.Tags}) {
			w.t.Errorf("%+v after the change, %+v before", after, before)
		}
		w.must(w.Store.DeleteRetentionPolicy(w.t.Context(), cause(), w.tenant, "old", 0))
	}
	w.consistent()
}
