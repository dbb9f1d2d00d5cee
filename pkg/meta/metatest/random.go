package metatest

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// testRandom runs random operations against a simple model of what the store
// has promised.
func testRandom(t *testing.T, open Open) {
	dice.Check(t, func(t *dice.T) {
		m := &model{world: newWorld(t, open), play: t.T, repos: map[string]*modelRepo{}, hosted: map[blob.Key]time.Time{}}
		m.cache = newModelCache(m)
		m.deleted = m.mayBeDeleted
		actions := m.cache.actions()
		maps.Copy(actions, m.actions())
		t.Repeat(actions)
		m.compare()
		for _, name := range slices.Sorted(maps.Keys(m.repos)) {
			m.deleteRepository(name)
		}
		m.must(m.Store.DeleteUpstream(t.Context(), cause(), m.tenant, "ghcr", 0))
		m.collectAll()
		m.consistent()
		if len(m.objects()) != 0 || m.used("acme") != 0 {
			t.Errorf("after everything was deleted: charged %d, objects %v", m.used("acme"), m.objects())
		}
	})
}

// model is what the store has acknowledged.
type model struct {
	world
	play  *rapid.T
	repos map[string]*modelRepo
	cache *modelCache

	hosted map[blob.Key]time.Time // objects that were hosted, and when last
}

// noteHosted notes the objects that repositories hold now.
func (m *model) noteHosted() {
	m.t.Helper()
	for _, r := range m.repos {
		for _, content := range numbered("content %d", 8) {
			if b, err := m.Store.FindBlob(m.t.Context(), r.repo, digestOf(content)); err == nil {
				m.hosted[b.Key] = m.Now()
			}
		}
	}
}

// mayBeDeleted fails the test if the bytes were hosted, and a restore still needs them.
func (m *model) mayBeDeleted(k blob.Key) {
	m.t.Helper()
	if last, ok := m.hosted[k]; ok && m.Now().Sub(last) < meta.DefaultLifetimes.DeleteDelay {
		m.t.Errorf("%s was hosted %s ago, and is deleted", k, m.Now().Sub(last))
	}
}

type modelRepo struct {
	repo      meta.Repo
	manifests map[oci.Digest]modelManifest
	tags      map[string]oci.Digest
	promised  map[string]time.Time // until when a content is held, by promise

	trash map[oci.Digest]modelTrash

	provisional map[string]bool // contents that a provisional manifest named, which may be gone
}

type modelManifest struct {
	put      meta.ManifestPut
	contents []string
	children []oci.Digest // of an index
}

// pick is the model of a repository, made when it is first drawn.
func (m *model) pick() *modelRepo {
	name := rapid.SampledFrom([]string{"a", "b/c"}).Draw(m.play, "repository")
	if m.repos[name] == nil {
		m.repos[name] = &modelRepo{m.repo(name), map[oci.Digest]modelManifest{}, map[string]oci.Digest{}, map[string]time.Time{}, map[oci.Digest]modelTrash{}, map[string]bool{}}
	}
	return m.repos[name]
}

var modelContents = rapid.SampledFrom(numbered("content %d", 8))

func (m *model) content() string { return modelContents.Draw(m.play, "content") }

func (m *model) contents() []string {
	return rapid.SliceOfNDistinct(modelContents, 1, 3, rapid.ID).Draw(m.play, "contents")
}

// oneOf is true once in n times.
func (m *model) oneOf(n int, what string) bool {
	return rapid.IntRange(1, n).Draw(m.play, what) == n
}

// named says whether a manifest of the repository names the content.
func (r *modelRepo) named(content string) bool {
	for _, one := range r.manifests {
		if slices.Contains(one.contents, content) {
			return true
		}
	}
	return false
}

// holds says whether the repository must hold all the contents; false says nothing.
func (r *modelRepo) holds(now time.Time, contents ...string) bool {
	return !slices.ContainsFunc(contents, func(c string) bool { return !r.named(c) && !r.promised[c].After(now) })
}

func (r *modelRepo) promise(content string, until time.Time) {
	if until.After(r.promised[content]) {
		r.promised[content] = until
	}
}

// actions are what clients and the janitor do to what is hosted.
func (m *model) actions() map[string]func(*rapid.T) {
	life, ctx := meta.DefaultLifetimes, m.t.Context()
	return map[string]func(*rapid.T){
		"push": func(*rapid.T) {
			r := m.pick()
			for _, content := range m.contents() {
				m.push(r.repo, content)
				r.promise(content, m.Now().Add(life.Grace))
			}
		},
		"check": func(*rapid.T) {
			r, content := m.pick(), m.content()
			_, err := m.Store.CheckBlob(ctx, r.repo, digestOf(content))
			if m.expect(err, r.holds(m.Now(), content), fault.BlobUnknown) {
				r.promise(content, m.Now().Add(life.HeadGrace/2))
			}
		},
		"mount": func(*rapid.T) {
			r, from, content := m.pick(), m.pick(), m.content()
			_, err := m.Store.MountBlob(ctx, cause(), from.repo, r.repo, digestOf(content))
			if m.expect(err, from.holds(m.Now(), content), fault.BlobUnknown) {
				r.promise(content, m.Now().Add(life.Grace))
			}
		},
		"let time pass": func(*rapid.T) {
			m.noteHosted()
			m.Advance(time.Duration(rapid.Int64Range(0, int64(30*time.Hour)).Draw(m.play, "time")))
			m.collect()
			m.cache.collected()
		},
		"cancel an upload": func(*rapid.T) {
			r := m.pick()
			m.must(m.Store.CancelUpload(ctx, r.repo, m.stage(r.repo, "cancelled").ID))
		},
		"delete a repository": func(*rapid.T) {
			if name := m.pick().repo.Name; m.oneOf(3, "deleted") {
				m.deleteRepository(name)
			}
		},
		"put an image":      func(*rapid.T) { m.putImage(m.pick(), m.contents()...) },
		"put an index":      func(*rapid.T) { m.putIndex(m.pick()) },
		"move a tag":        func(*rapid.T) { m.moveTag(m.pick()) },
		"delete a manifest": func(*rapid.T) { m.deleteManifest(m.pick()) },
		"undelete":          func(*rapid.T) { m.undeleteOne(m.pick()) },
		"delete a blob":     func(*rapid.T) { m.deleteBlob(m.pick(), m.content()) },
		"adopt":             func(*rapid.T) { m.adopt(m.pick(), m.contents()...) },
		"compare":           func(*rapid.T) { m.compare() },
	}
}

// expect fails the test if err contradicts the model: an operation that must
// work did not, or one failed for another reason than absence.
func (m *model) expect(err error, must bool, absence fault.Reason) bool {
	m.t.Helper()
	if err != nil && (must || !fault.Is(err, absence)) {
		m.t.Errorf("%v, though it must work: %t", err, must)
	}
	return err == nil
}

// imageOf is an image of contents.
func (m *model) imageOf(contents []string) meta.ManifestPut {
	m.t.Helper()
	blobs := make([]meta.Blob, len(contents))
	for i, c := range contents {
		blobs[i] = described(c)
	}
	return m.image(nil, blobs...)
}

func (m *model) putImage(r *modelRepo, contents ...string) {
	m.t.Helper()
	image := m.imageOf(contents)
	tag := rapid.SampledFrom(numbered("v%d", 4)).Draw(m.play, "tag")
	if m.expect(m.tryPut(r.repo, image, tag), r.holds(m.Now(), contents...), fault.ManifestBlobUnknown) {
		r.live(image.Manifest.Digest, modelManifest{put: image, contents: contents})
		r.tags[tag] = image.Manifest.Digest
	}
}

// putIndex puts an index of up to two manifests, which may be indexes.
func (m *model) putIndex(r *modelRepo) {
	m.t.Helper()
	var children []meta.Manifest
	var digests []oci.Digest
	for range 2 {
		if d, one := m.pickManifest(r); d != "" {
			children, digests = append(children, one.put.Manifest), append(digests, d)
		}
	}
	index := m.index(children...)
	m.put(r.repo, index, "index")
	r.live(index.Manifest.Digest, modelManifest{put: index, children: digests})
	r.tags["index"] = index.Manifest.Digest
}

// parents are the indexes of the repository that name the manifest.
func (r *modelRepo) parents(d oci.Digest) []oci.Digest {
	var parents []oci.Digest
	for parent, one := range r.manifests {
		if slices.Contains(one.children, d) {
			parents = append(parents, parent)
		}
	}
	slices.Sort(parents)
	return parents
}

func (m *model) moveTag(r *modelRepo) {
	m.t.Helper()
	if d, one := m.pickManifest(r); d != "" {
		m.put(r.repo, one.put, "moved")
		r.tags["moved"] = d
	}
}

// pickManifest draws one of the manifests; the digest is empty without any.
func (m *model) pickManifest(r *modelRepo) (oci.Digest, modelManifest) {
	if len(r.manifests) == 0 {
		return "", modelManifest{}
	}
	d := rapid.SampledFrom(slices.Sorted(maps.Keys(r.manifests))).Draw(m.play, "manifest")
	return d, r.manifests[d]
}

func (m *model) deleteManifest(r *modelRepo) {
	m.t.Helper()
	d, one := m.pickManifest(r)
	if d == "" {
		return
	}
	if parents := r.parents(d); len(parents) > 0 {
		named := m.parents(m.tryDelete(r.repo, d))
		if !slices.Equal(named, parents) && len(parents) <= meta.MaxParents {
			m.t.Errorf("%s is named by %v, want %v", d, named, parents)
		}
		return
	}
	m.must(m.tryDelete(r.repo, d))
	m.toTrash(r, d, one)
	delete(r.manifests, d)
	maps.DeleteFunc(r.tags, func(_ string, at oci.Digest) bool { return at == d })
	for _, c := range one.contents {
		r.promise(c, m.Now().Add(meta.DefaultLifetimes.HeadGrace))
	}
}

func (m *model) deleteBlob(r *modelRepo, content string) {
	m.t.Helper()
	err := m.Store.DeleteBlob(m.t.Context(), cause(), r.repo, digestOf(content))
	switch {
	case r.named(content):
		m.refused(err, fault.Unsupported, fault.UnsupportedReason)
	case r.provisional[content] && fault.Is(err, fault.UnsupportedReason):
	case m.expect(err, r.holds(m.Now(), content), fault.BlobUnknown):
		delete(r.promised, content)
	}
}

func (m *model) deleteRepository(name string) {
	m.t.Helper()
	err := m.Store.DeleteRepository(m.t.Context(), cause(), m.repo(name))
	m.expect(err, len(m.repos[name].manifests) > 0, fault.NameUnknown)
	delete(m.repos, name)
}

// compare reads everything that was acknowledged.
func (m *model) compare() {
	m.t.Helper()
	m.consistent()
	m.cache.compareCached()
	for name, r := range m.repos {
		m.compareTrash(r)
		for d, one := range r.manifests {
			if _, err := m.Store.FindManifest(m.t.Context(), r.repo, oci.Reference{Digest: d}); err != nil {
				m.t.Errorf("%s@%s: %v", name, d, err)
			}
			for _, c := range one.contents {
				if _, err := m.Store.FindBlob(m.t.Context(), r.repo, digestOf(c)); err != nil {
					m.t.Errorf("%s of %s@%s: %v", c, name, d, err)
				}
			}
		}
		for _, tag := range []string{"v0", "v1", "v2", "v3", "moved", "index"} {
			if got := m.tagged(r.repo, tag); got != r.tags[tag] {
				m.t.Errorf("%s:%s is %q, want %q", name, tag, got, r.tags[tag])
			}
		}
	}
}
