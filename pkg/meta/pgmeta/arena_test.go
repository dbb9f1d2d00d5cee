package pgmeta

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/retention"
)

// arena is a small state in which any two operations meet, long after it was pushed:
// everything that nothing names is due.
type arena struct {
	store       *Store // that nothing holds back
	saved       *saved
	app, source meta.Repo
	late        meta.Repo                // that was deleted, and can be restored
	evaluated   []meta.RetentionDeletion // that a run has still to make: v1, and then what goes with it
	images      map[string]meta.ManifestPut
	sessions    map[string]meta.Upload // sealed, by what they hold
	named       map[oci.Digest]string

	mu    sync.Mutex
	calls map[*Store]int // since the arena was brought back
}

// What is in the arena. app holds layer, which the images v1 and moved name, loose,
// which nothing names, and lost, whose manifest has expired; a signature refers to v1.
// In its trash are deleted, a note that was deleted with it, an index of it, and ended,
// which can no longer be restored: only they name held and over. source holds loose too.
// dropped is a blob without links.
func newArena(t testing.TB, url string) *arena {
	t.Helper()
	s := open(t, Options{URL: url})
	newClock(t, s)
	app := fill(t, s)
	a := &arena{store: s, app: app, source: app, images: map[string]meta.ManifestPut{}, sessions: map[string]meta.Upload{}, calls: map[*Store]int{}}
	a.source.Name = "source"
	a.draw(t)
	for _, content := range []string{"layer", "loose", "lost", "dropped", "over"} {
		pushBlob(t, s, app, content)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"v1", "moved", "signature", "expired", "ended"} {
		must(a.put(s, name))
	}
	must(a.delete(s, "ended", meta.ManifestDelete{}))
	pushBlob(t, s, a.source, "loose")
	must(s.DeleteBlob(t.Context(), meta.Cause{Op: uuid.New()}, app, digestOf("dropped")))
	deleted := func(name string) meta.Repo {
		r := app
		r.Name = name
		pushBlob(t, s, r, "layer")
		putImage(t, s, r, "layer", "v1")
		must(s.DeleteRepository(t.Context(), meta.Cause{Op: uuid.New()}, r))
		return r
	}
	deleted("gone")
	for _, content := range []string{"new", "loose", "dropped", "held"} {
		a.sessions[content] = sealed(t, s, app, content)
	}
	a.pass(t, 20*time.Hour)
	pushBlob(t, s, app, "held")
	must(a.put(s, "deleted"))
	must(a.put(s, "note"))
	must(a.put(s, "index-of-deleted"))
	must(a.delete(s, "index-of-deleted", meta.ManifestDelete{}))
	must(a.delete(s, "deleted", meta.ManifestDelete{Referrers: true}))
	a.late = deleted("late")
	_, err := s.CreateRetentionPolicy(t.Context(), meta.Cause{Op: uuid.New()}, meta.RetentionPolicy{
		Tenant: app.Tenant, Slug: "old", Enforced: true, Interval: 24 * time.Hour, MaxDeletions: 1000,
		Policy: retention.Policy{Rules: []retention.Rule{{Name: "v1", Action: retention.Delete, Selector: retention.Selector{Tags: []string{"v1"}}}}},
	})
	must(err)
	a.pass(t, 7*time.Hour)
	_, err = s.PurgeDeleted(t.Context(), 10) // gives up what can no longer be restored, and no more
	must(err)
	a.evaluate(t)
	a.saved = save(t, url)
	return a
}

// evaluate begins the run of the policy.
func (a *arena) evaluate(t testing.TB) {
	t.Helper()
	step := meta.RetentionStep{Worker: uuid.New(), Hold: time.Hour}
	p, ok, err := a.store.ClaimRetention(t.Context(), step.Worker, step.Hold)
	if err != nil || !ok {
		t.Fatalf("claimed: %t, %v", ok, err)
	}
	step.Tenant, step.Policy, step.Number = p.Tenant, p.Slug, p.Run.Number
	content, err := a.store.RetentionContent(t.Context(), a.app)
	if err != nil {
		t.Fatal(err)
	}
	accounting, err := a.store.FindPullAccounting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	result := p.Evaluate(content, accounting.Moment(p.Run.BeganAt))
	bases := p.Bases(result)
	for _, d := range result.Deletions {
		a.evaluated = append(a.evaluated, meta.RetentionDeletion{Step: step, Repo: a.app, Deletion: d, Basis: bases.Of(d)})
	}
	if len(a.evaluated) != 2 || a.evaluated[0].Deletion.Digest != a.images["v1"].Manifest.Digest {
		t.Fatalf("decided on %+v", a.evaluated)
	}
}

// draw makes the images.
func (a *arena) draw(t testing.TB) {
	t.Helper()
	add := func(name string, c ocitest.Content, tags ...string) {
		parsed, err := oci.ParseManifest(c.MediaType, c.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		a.images[name] = meta.ManifestPut{
			Repo: a.app, Tags: tags, Parsed: parsed, Provisional: name == "expired",
			Manifest: meta.Manifest{Digest: c.Digest, MediaType: c.MediaType, Payload: c.Bytes},
		}
	}
	image := func(name, subject, config string, layers ...string) ocitest.Content {
		extra := ocitest.Extra{Annotations: map[string]string{"name": name}}
		if subject != "" {
			extra.Subject = &oci.Descriptor{Digest: a.images[subject].Manifest.Digest, MediaType: oci.MediaTypeImageManifest, Size: 1}
		}
		var contents []ocitest.Content
		for _, l := range layers {
			contents = append(contents, ocitest.Layer([]byte(l)))
		}
		return extra.Manifest(ocitest.Config([]byte(config)), contents...)
	}
	v1 := image("v1", "", "layer")
	add("v1", v1, "v1")
	add("moved", image("moved", "", "layer"))
	add("both", image("both", "", "layer", "loose"))
	add("loose", image("loose", "", "loose"))
	add("expired", image("expired", "", "lost"))
	add("signature", image("signature", "v1", "layer"))
	add("approval", image("approval", "v1", "layer"))
	add("index", ocitest.Index(v1), "index")
	add("ended", image("ended", "", "layer", "over"), "ended")
	deleted := image("deleted", "", "layer", "held")
	add("deleted", deleted, "deleted")
	add("note", image("note", "deleted", "held"))
	add("index-of-deleted", ocitest.Index(deleted))
	a.images["filled"] = imagePut(a.app, "config", "v1")
	a.named = map[oci.Digest]string{}
	for name, p := range a.images {
		a.named[p.Manifest.Digest] = name
	}
	for _, content := range []string{"layer", "loose", "lost", "dropped", "new", "config", "held", "over"} {
		a.named[digestOf(content)] = content
	}
}

// back brings the arena back from a state, nil where it is not known.
func (a *arena) back(t testing.TB, from digests) {
	t.Helper()
	a.saved.back(t, from)
	clear(a.calls)
}

// cause is that of an actor's next call: the same in each meeting, so that what comes
// of two of them can be compared.
func (a *arena) cause(s *Store) meta.Cause {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls[s]++
	building := a.saved == nil
	return meta.Cause{Op: uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%p %t %d", s, building, a.calls[s]))}
}

// put is a push of an image, under more tags.
func (a *arena) put(s *Store, name string, tags ...string) error {
	p := a.images[name]
	p.Tags, p.By = slices.Concat(p.Tags, tags), a.cause(s)
	return s.PutManifest(contestTime, p)
}

// delete deletes an image.
func (a *arena) delete(s *Store, name string, d meta.ManifestDelete) error {
	d.Repo, d.Digest, d.By = a.app, a.images[name].Manifest.Digest, a.cause(s)
	return s.DeleteManifest(contestTime, d)
}

// undelete restores an image, under its tags or those.
func (a *arena) undelete(s *Store, name string, by meta.Cause, tags ...string) error {
	return s.UndeleteManifest(contestTime, a.undeletion(name, by, tags))
}

// undeleteOne is undelete, cut off after one transaction.
func (a *arena) undeleteOne(s *Store, name string, by meta.Cause, tags ...string) error {
	made := 0
	return s.Records.UndeleteManifest(contestTime, a.undeletion(name, by, tags), func(ctx context.Context, p meta.ManifestPut) error {
		if made++; made > 1 {
			return errCut
		}
		return s.PutManifest(ctx, p)
	})
}

func (a *arena) undeletion(name string, by meta.Cause, tags []string) meta.ManifestUndelete {
	return meta.ManifestUndelete{Repo: a.app, Digest: a.images[name].Manifest.Digest, Tags: tags, By: by}
}

// purge ends a digest, with the manifests that name it.
func (a *arena) purge(s *Store, d oci.Digest) error {
	_, err := s.PurgeDigest(contestTime, meta.DigestPurge{Tenant: a.app.Tenant, Digest: d, Force: true, By: a.cause(s)})
	return err
}

// pass lets time pass.
func (a *arena) pass(t testing.TB, d time.Duration) {
	t.Helper()
	mustRun(t, a.store, `UPDATE test_clock SET now = now + $1::interval`, d)
}

// everything is what clients can see or restore, and which blobs repositories hold.
const everything = `
SELECT r.name || '@' || encode(m.digest, 'hex') || CASE WHEN m.expire_at IS NULL THEN '' ELSE ' provisional' END
  FROM open_repositories r JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
UNION ALL
SELECT r.name || ':' || g.name || ' ' || encode(g.manifest, 'hex')
  FROM open_repositories r JOIN tags g ON g.tenant_id = r.tenant_id AND g.repo_id = r.id WHERE g.manifest IS NOT NULL
UNION ALL
SELECT r.name || ' could restore ' || encode(m.digest, 'hex')
  FROM open_repositories r JOIN trashed_manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id WHERE m.restore_until > berth_now()
UNION ALL
SELECT r.name || ' listed' FROM open_repositories r WHERE r.listed
UNION ALL
SELECT r.name || ' holds ' || encode(rb.digest, 'hex')
  FROM open_repositories r JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id`

// view is everything, by the names that the arena gives digests.
func (a *arena) view(t testing.TB) []string {
	t.Helper()
	rows, err := a.store.pool.Query(t.Context(), everything)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for d, name := range a.named {
		names = append(names, hex.EncodeToString(d.Bytes()), name)
	}
	short := strings.NewReplacer(names...)
	for i := range lines {
		lines[i] = short.Replace(lines[i])
	}
	slices.Sort(lines)
	return lines
}

// unreadable says what of the manifests in a view cannot be read: their bytes, and the
// blobs that they name, which those in the trash need as well. Whether their children
// are there is seen in the view.
func (a *arena) unreadable(t testing.TB, view []string) []string {
	t.Helper()
	var lost []string
	for name, p := range a.images {
		if slices.Contains(view, "app could restore "+name) {
			for _, b := range p.Parsed.Blobs {
				if held := "app holds " + a.named[b.Digest]; !slices.Contains(view, held) {
					lost = append(lost, fmt.Sprintf("of %s in the trash: %s", name, a.named[b.Digest]))
				}
			}
		}
		if !slices.Contains(view, "app@"+name) {
			continue
		}
		m, err := a.store.FindManifest(t.Context(), a.app, oci.Reference{Digest: p.Manifest.Digest})
		if err != nil || string(m.Payload) != string(p.Manifest.Payload) {
			lost = append(lost, fmt.Sprintf("%s is %q, %v", name, m.Payload, err))
		}
		for _, b := range p.Parsed.Blobs {
			if _, err := a.store.FindBlob(t.Context(), a.app, b.Digest); err != nil {
				lost = append(lost, fmt.Sprintf("of %s: %v", name, err))
			}
		}
	}
	return lost
}

// unsettled says what is not as it must be when everything was collected: what clients
// saw before is there, and nothing else.
func (a *arena) unsettled(t testing.TB, before []string) []string {
	t.Helper()
	now := a.view(t)
	wrong := a.unreadable(t, now)
	var want []string
	for name, p := range a.images {
		for _, b := range p.Parsed.Blobs {
			if slices.Contains(before, "app@"+name) {
				want = append(want, "app holds "+a.named[b.Digest])
			}
		}
	}
	for _, line := range before {
		if !strings.Contains(line, " holds ") && !strings.Contains(line, " could restore ") && !strings.HasSuffix(line, " provisional") {
			want = append(want, line)
		}
	}
	if slices.Contains(before, "late listed") {
		want = append(want, "late holds layer")
	}
	slices.Sort(want)
	if want = slices.Compact(want); !slices.Equal(want, now) {
		wrong = append(wrong, fmt.Sprintf("collected, there is %q; want %q", now, want))
	}
	return wrong
}
