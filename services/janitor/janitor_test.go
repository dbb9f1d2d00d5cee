package janitor_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/janitor"
)

// world is a deployment with a clock that the test moves.
type world struct {
	*fronttest.Deployment
	t    *testing.T
	now  time.Time
	repo meta.Repo
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Now()}
	w.Deployment = fronttest.NewWith(t, sqlitemeta.Options{Now: func() time.Time { return w.now }})
	site := w.Tenant("acme", tenant.Settings{})
	w.repo = fronttest.Repo(site, "app")
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) push(content string) meta.Blob { return w.PutBlob(w.repo, []byte(content)) }

// image pushes an image of the layer and tags it.
func (w *world) image(layer string) {
	w.t.Helper()
	w.push(layer)
	w.push("{}")
	w.PutManifest(w.repo, ocitest.Manifest(ocitest.Empty(), ocitest.Layer([]byte(layer))).Bytes, "v1")
}

func (w *world) janitor(b janitor.Blobs) *janitor.Janitor {
	return janitor.New(janitor.Config{Meta: w.Meta, Blobs: b, Log: slog.New(slog.DiscardHandler)})
}

// passMonth lets a month go by in days, with a pass each.
func (w *world) passMonth(j *janitor.Janitor) {
	w.t.Helper()
	for range 30 {
		w.now = w.now.Add(24 * time.Hour)
		w.must(j.Pass(w.t.Context()))
	}
}

// files lists the objects in the directory.
func (w *world) files() []string {
	w.t.Helper()
	var files []string
	w.must(filepath.WalkDir(filepath.Join(w.Dir, "o"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	return files
}

// findings are what a deep check reports.
func (w *world) findings() []meta.Finding {
	w.t.Helper()
	var found []meta.Finding
	_, err := janitor.Check{Meta: w.Meta, Blobs: w.Blobs, Deep: true}.Run(w.t.Context(), func(f meta.Finding) { found = append(found, f) })
	w.must(err)
	return found
}

func TestPassRemovesGarbageAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.image("layer")
	w.push("named by nothing")
	w.StageBlob(w.repo, []byte("never finished"))
	if n := len(w.files()); n != 4 {
		t.Fatalf("%d files before", n)
	}
	w.passMonth(w.janitor(w.Blobs))
	if got := w.files(); len(got) != 2 {
		t.Errorf("files after a month: %v, want those of config and layer", got)
	}
	if found := w.findings(); len(found) > 0 {
		t.Errorf("findings %v", found)
	}
	w.must(w.Meta.DeleteTenant(t.Context(), fronttest.By(), "acme", 0, true))
	w.passMonth(w.janitor(w.Blobs))
	if got := w.files(); len(got) != 0 {
		t.Errorf("files of the deleted tenant: %v", got)
	}
	if found := w.findings(); len(found) > 0 {
		t.Errorf("findings %v", found)
	}
}

// cache makes an upstream whose cached content is kept for as long after a pull,
// and puts an image of the layer there.
func (w *world) cache(slug, layer string, keep time.Duration, most int64) meta.Repo {
	w.t.Helper()
	u, err := w.Meta.CreateUpstream(w.t.Context(), fronttest.By(), meta.Upstream{
		Tenant: w.repo.Tenant, Slug: slug, Settings: meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: "https://registry.example"}, Keep: keep, MaxBytes: most},
	})
	w.must(err)
	r := meta.Repo{Tenant: u.Tenant, Registry: u.Cache, Name: "library/app"}
	w.fetch(r, layer, keep)
	return r
}

func (w *world) fetch(r meta.Repo, layer string, keep time.Duration) {
	w.t.Helper()
	w.PutBlob(r, []byte(layer))
	m := ocitest.Manifest(ocitest.Layer([]byte(layer)))
	parsed, err := oci.ParseManifest("", m.Bytes)
	w.must(err)
	w.must(w.Meta.PutCached(w.t.Context(), meta.CachedPut{
		Repo: r, Parsed: parsed, Tag: layer, Keep: keep,
		Manifest: meta.Manifest{Digest: m.Digest, MediaType: m.MediaType, Payload: m.Bytes},
	}))
}

func TestCachedContentGoesWhenItWasNotPulledForLong(t *testing.T) {
	w := newWorld(t)
	w.image("layer")
	w.cache("short", "kept for ten days", 240*time.Hour, 0)
	w.cache("long", "kept for a year", 8760*time.Hour, 0)
	w.passMonth(w.janitor(w.Blobs))
	if got := w.files(); len(got) != 3 {
		t.Errorf("files after a month: %v, want those of what is hosted and of what is kept", got)
	}
	if found := w.findings(); len(found) > 0 {
		t.Errorf("findings %v", found)
	}
}

func TestTheLeastPulledGoesFromACacheOverItsLimit(t *testing.T) {
	w := newWorld(t)
	const year = 8760 * time.Hour
	r := w.cache("small", "one layer of 30 bytes, pulled.", year, 60)
	for _, layer := range []string{"another of 30 bytes, least so.", "the last one with 30 bytes too"} {
		w.now = w.now.Add(24 * time.Hour)
		w.fetch(r, layer, year)
	}
	pulled, err := w.Meta.FindCachedTag(t.Context(), r, "one layer of 30 bytes, pulled.")
	w.must(err)
	w.must(w.Meta.RecordPulls(t.Context(), []meta.CachedPull{{Repo: r, Digest: pulled.Manifest.Digest, Keep: year}}))
	j := w.janitor(w.Blobs)
	w.must(j.Evict(t.Context()))
	w.passMonth(j)
	if got := w.files(); len(got) != 2 {
		t.Errorf("files after a month: %v, want two", got)
	}
	if _, err := w.Meta.FindCachedTag(t.Context(), r, "another of 30 bytes, least so."); !fault.Is(err, fault.ManifestUnknown) {
		t.Errorf("the least pulled: %v", err)
	}
	if found := w.findings(); len(found) > 0 {
		t.Errorf("findings %v", found)
	}
}

// broken is a store whose deletes fail.
type broken struct{ *fsblob.Store }

var errBroken = errors.New("input/output error")

func (broken) Delete(context.Context, blob.Key, string) error { return errBroken }

func TestAFailedDeleteIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.push("named by nothing")
	w.passMonth(w.janitor(broken{w.Blobs}))
	if got := w.files(); len(got) != 1 {
		t.Fatalf("files %v", got)
	}
	if found := w.findings(); len(found) > 0 {
		t.Errorf("an object that waits for its deletion is a finding: %v", found)
	}
	w.passMonth(w.janitor(w.Blobs))
	if got := w.files(); len(got) != 0 {
		t.Errorf("files %v", got)
	}
}

func TestReconcileCondemnsOldUnknownObjectsOnly(t *testing.T) {
	w := newWorld(t)
	known := w.push("12345")
	old := w.plant(25 * time.Hour)
	young := w.plant(time.Hour)
	j := w.janitor(w.Blobs)
	w.must(j.Reconcile(t.Context()))
	w.now = w.now.Add(meta.DefaultLifetimes.DeleteDelay + time.Hour)
	w.must(j.Pass(t.Context()))
	for _, c := range []struct {
		what string
		key  blob.Key
		want bool
	}{{"a known one", known.Key, true}, {"an old unknown one", old, false}, {"a young unknown one", young, true}} {
		if _, err := w.Blobs.Stat(t.Context(), c.key); (err == nil) != c.want || err != nil && !errors.Is(err, blob.ErrMissing) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// A database that knows little of its store has lost something; the store shall
// not lose it, too, unless an operator says so.
func TestH7_ReconcileCondemnsABoundedShare(t *testing.T) {
	w := newWorld(t)
	w.push("12345")
	strays := []blob.Key{w.plant(25 * time.Hour), w.plant(25 * time.Hour), w.plant(25 * time.Hour)}
	left := func() int {
		n := 0
		w.now = w.now.Add(meta.DefaultLifetimes.DeleteDelay + time.Hour)
		w.must(w.janitor(w.Blobs).Pass(t.Context()))
		for _, k := range strays {
			if _, err := w.Blobs.Stat(t.Context(), k); err == nil {
				n++
			}
		}
		return n
	}
	j := w.janitor(w.Blobs)
	if err := j.Reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), "3 of the 7 objects") || !strings.Contains(err.Error(), "--condemn-unknown") {
		t.Errorf("reconciled: %v", err)
	}
	if got := j.Survey(); got != (janitor.Survey{Stored: 7, Unknown: 3, Refused: true}) || j.Refusal() == nil {
		t.Errorf("survey %+v", got)
	}
	if n := left(); n != 3 {
		t.Errorf("%d of 3 objects are left that no operator gave up", n)
	}
	told := janitor.New(janitor.Config{Meta: w.Meta, Blobs: w.Blobs, Log: slog.New(slog.DiscardHandler), CondemnUnknown: true})
	w.must(told.Reconcile(t.Context()))
	if n := left(); n != 0 {
		t.Errorf("%d of 3 objects are left", n)
	}
	w.must(j.Reconcile(t.Context()))
	if got := j.Survey(); got.Unknown != 0 || got.Refused || j.Refusal() != nil {
		t.Errorf("survey %+v", got)
	}
}

// A janitor that may not begin removes nothing.
func TestH7_NoRunWithoutTheGuard(t *testing.T) {
	w := newWorld(t)
	w.push("named by nothing")
	w.plant(25 * time.Hour)
	before := len(w.files())
	refused := errors.New("the store is another one")
	j := janitor.New(janitor.Config{
		Meta: w.Meta, Blobs: w.Blobs, Log: slog.New(slog.DiscardHandler), Guard: func(context.Context) error { return refused },
	})
	for range 3 {
		w.now = w.now.Add(30 * 24 * time.Hour)
		for what, run := range map[string]func(context.Context) error{"pass": j.Pass, "evict": j.Evict, "sweep": j.Sweep, "reconcile": j.Reconcile} {
			if err := run(t.Context()); !errors.Is(err, refused) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if got := len(w.files()); got != before {
		t.Errorf("%d files of %d", got, before)
	}
}

// plant puts an object into the store that no row knows.
func (w *world) plant(age time.Duration) blob.Key {
	w.t.Helper()
	known := w.path(w.push("to be copied").Key)
	k := blob.Key{Tenant: int64(w.repo.Tenant), Incarnation: uuid.New()}
	name := k.Incarnation.String()
	file := filepath.Join(filepath.Dir(filepath.Dir(known)), name[len(name)-2:], name)
	w.must(os.MkdirAll(filepath.Dir(file), 0o700))
	w.must(os.WriteFile(file, []byte("stray"), 0o600))
	then := time.Now().Add(-age)
	w.must(os.Chtimes(file, then, then))
	return k
}

// overwrite changes an object behind the store's back.
func (w *world) overwrite(b meta.Blob, content string) {
	w.t.Helper()
	w.must(os.Chmod(w.path(b.Key), 0o600))
	w.must(os.WriteFile(w.path(b.Key), []byte(content), 0o600))
}

// path is where an object's file is.
func (w *world) path(k blob.Key) string {
	w.t.Helper()
	for _, f := range w.files() {
		if filepath.Base(f) == k.Incarnation.String() {
			return f
		}
	}
	w.t.Fatalf("no file of %s", k)
	return ""
}

func TestCheckFindsWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		what      string
		invariant string
		damage    func(w *world, b meta.Blob)
	}{
		{"a lost object", "I1", func(w *world, b meta.Blob) { w.must(os.Remove(w.path(b.Key))) }},
		{"a cut object", "I1", func(w *world, b meta.Blob) { w.overwrite(b, "123") }},
		{"a flipped bit", "I1", func(w *world, b meta.Blob) { w.overwrite(b, "12344") }},
		{"an unknown object", "I3", func(w *world, _ meta.Blob) { w.plant(0) }},
		{"a foreign file", "I3", func(w *world, b meta.Blob) {
			w.must(os.WriteFile(filepath.Join(filepath.Dir(w.path(b.Key)), "notes.txt"), nil, 0o600))
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t)
			b := w.push("12345")
			if found := w.findings(); len(found) > 0 {
				t.Fatalf("findings before: %v", found)
			}
			c.damage(w, b)
			if found := w.findings(); len(found) != 1 || found[0].Invariant != c.invariant {
				t.Errorf("findings %v, want one of %s", found, c.invariant)
			}
		})
	}
}
