package pgmeta

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// arena is a small state in which any two operations meet, long after it was pushed:
// everything that nothing names is due.
type arena struct {
	store       *Store // that nothing holds back
	saved       *saved
	app, source meta.Repo
	images      map[string]meta.ManifestPut
	sessions    map[string]meta.Upload // sealed, by what they hold
	named       map[oci.Digest]string
}

// What is in the arena. app holds layer, which the images v1 and moved name, loose,
// which nothing names, and lost, whose manifest has expired; a signature refers to v1.
// source holds loose too. dropped is a blob without links.
func newArena(t testing.TB, url string) *arena {
	t.Helper()
	s := open(t, Options{URL: url})
	newClock(t, s)
	app := fill(t, s)
	a := &arena{store: s, app: app, source: app, images: map[string]meta.ManifestPut{}, sessions: map[string]meta.Upload{}}
	a.source.Name = "source"
	a.draw()
	for _, content := range []string{"layer", "loose", "lost", "dropped"} {
		pushBlob(t, s, app, content)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"v1", "moved", "signature", "expired"} {
		must(a.put(s, name))
	}
	pushBlob(t, s, a.source, "loose")
	must(s.DeleteBlob(t.Context(), meta.Cause{Op: uuid.New()}, app, digestOf("dropped")))
	gone := app
	gone.Name = "gone"
	pushBlob(t, s, gone, "layer")
	putImage(t, s, gone, "layer", "v1")
	must(s.DeleteRepository(t.Context(), meta.Cause{Op: uuid.New()}, gone))
	for _, content := range []string{"new", "loose", "dropped"} {
		a.sessions[content] = sealed(t, s, app, content)
	}
	a.pass(t, 27*time.Hour)
	_, err := s.PurgeDeleted(t.Context(), 10) // gives up what can no longer be restored, and no more
	must(err)
	a.saved = save(t, s)
	return a
}

// draw makes the images.
func (a *arena) draw() {
	image := func(name, subject string, contents ...string) {
		p := meta.ManifestPut{Repo: a.app, Manifest: meta.Manifest{MediaType: oci.MediaTypeImageManifest}, Parsed: &oci.Manifest{}}
		for _, c := range contents {
			p.Parsed.Blobs = append(p.Parsed.Blobs, oci.Descriptor{Digest: digestOf(c), Size: int64(len(c))})
		}
		if subject != "" {
			p.Parsed.Subject = &oci.Descriptor{Digest: a.images[subject].Manifest.Digest}
		}
		p.Manifest.Payload = fmt.Appendf(nil, "%s of %s for %s", name, contents, subject)
		p.Manifest.Digest = digestOf(string(p.Manifest.Payload))
		a.images[name] = p
	}
	image("v1", "", "layer")
	image("moved", "", "layer")
	image("both", "", "layer", "loose")
	image("loose", "", "loose")
	image("expired", "", "lost")
	image("signature", "v1", "layer")
	image("approval", "v1", "layer")
	index := meta.ManifestPut{Repo: a.app, Manifest: meta.Manifest{MediaType: oci.MediaTypeImageIndex, Payload: []byte("index of v1")}, Parsed: &oci.Manifest{}}
	index.Manifest.Digest = digestOf(string(index.Manifest.Payload))
	index.Parsed.Children = []oci.Descriptor{{Digest: a.images["v1"].Manifest.Digest}}
	a.images["index"] = index
	expired := a.images["expired"]
	expired.Provisional = true
	a.images["expired"] = expired
	for _, name := range []string{"v1", "index"} {
		p := a.images[name]
		p.Tags = []string{name}
		a.images[name] = p
	}
	a.images["filled"] = imagePut(a.app, "config", "v1")
	a.named = map[oci.Digest]string{}
	for name, p := range a.images {
		a.named[p.Manifest.Digest] = name
	}
	for _, content := range []string{"layer", "loose", "lost", "dropped", "new", "config"} {
		a.named[digestOf(content)] = content
	}
}

// put is a push of an image, under more tags.
func (a *arena) put(s *Store, name string, tags ...string) error {
	p := a.images[name]
	p.Tags, p.By = slices.Concat(p.Tags, tags), meta.Cause{Op: uuid.New()}
	return s.PutManifest(contestTime, p)
}

// pass lets time pass.
func (a *arena) pass(t testing.TB, d time.Duration) {
	t.Helper()
	mustRun(t, a.store, `UPDATE test_clock SET now = now + $1::interval`, d)
}

// everything is what clients can see, and which blobs repositories hold.
const everything = `
SELECT r.name || '@' || encode(m.digest, 'hex') || CASE WHEN m.expire_at IS NULL THEN '' ELSE ' provisional' END
  FROM open_repositories r JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
UNION ALL
SELECT r.name || ':' || g.name || ' ' || encode(g.manifest, 'hex')
  FROM open_repositories r JOIN tags g ON g.tenant_id = r.tenant_id AND g.repo_id = r.id WHERE g.manifest IS NOT NULL
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
// blobs that they name. Whether their children are there is seen in the view.
func (a *arena) unreadable(t testing.TB, view []string) []string {
	t.Helper()
	var lost []string
	for name, p := range a.images {
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
		if !strings.Contains(line, " holds ") && !strings.HasSuffix(line, " provisional") {
			want = append(want, line)
		}
	}
	slices.Sort(want)
	if want = slices.Compact(want); !slices.Equal(want, now) {
		wrong = append(wrong, fmt.Sprintf("collected, there is %q; want %q", now, want))
	}
	return wrong
}
