package metatest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

const randomContents = 12

// testRandom runs random operations against a simple model of what the store
// has promised. A failing run is repeated with the seed that it prints.
func testRandom(t *testing.T, open Open) {
	seed := dice.Seed(t)
	m := &model{world: newWorld(t, open), rand: rand.New(rand.NewPCG(seed, 0)), repos: map[string]*modelRepo{}}
	m.cache = newModelCache(m)
	for step := range dice.Count(t, 400, 100_000) {
		m.step()
		if step%20 == 19 {
			m.compare()
		}
		if t.Failed() {
			t.Fatalf("broken at step %d of seed %d", step, seed)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.repos)) {
		m.deleteRepository(name)
	}
	m.must(m.Store.DeleteUpstream(t.Context(), cause(), m.tenant, "ghcr", 0))
	m.collectAll()
	m.consistent()
	if len(m.objects()) != 0 || m.used("acme") != 0 {
		t.Errorf("after everything was deleted: charged %d, objects %v", m.used("acme"), m.objects())
	}
}

// model is what the store has acknowledged.
type model struct {
	world
	rand  *rand.Rand
	repos map[string]*modelRepo
	cache *modelCache
}

type modelRepo struct {
	manifests map[oci.Digest]modelManifest
	tags      map[string]oci.Digest
	promised  map[string]time.Time // until when a content is held, by promise

	provisional map[string]bool // contents that a provisional manifest named, which may be gone
}

type modelManifest struct {
	put      meta.ManifestPut
	contents []string
	children []oci.Digest // of an index
}

func (m *model) pick() (string, *modelRepo) {
	name := []string{"a", "b", "c/d"}[m.rand.IntN(3)]
	return name, m.at(name)
}

// at is the model of a repository, made when it is first pushed to.
func (m *model) at(name string) *modelRepo {
	if m.repos[name] == nil {
		m.repos[name] = &modelRepo{map[oci.Digest]modelManifest{}, map[string]oci.Digest{}, map[string]time.Time{}, map[string]bool{}}
	}
	return m.repos[name]
}

func (m *model) content() string { return fmt.Sprintf("content %d", m.rand.IntN(randomContents)) }

// named says whether a manifest of the repository names the content.
func (r *modelRepo) named(content string) bool {
	for _, one := range r.manifests {
		for _, c := range one.contents {
			if c == content {
				return true
			}
		}
	}
	return false
}

// holds says whether the repository must hold the content; false says nothing.
func (r *modelRepo) holds(content string, now time.Time) bool {
	return r.named(content) || r.promised[content].After(now)
}

func (r *modelRepo) promise(content string, until time.Time) {
	if until.After(r.promised[content]) {
		r.promised[content] = until
	}
}

func (m *model) step() {
	m.t.Helper()
	life := meta.DefaultLifetimes
	name, r := m.pick()
	repo := m.repo(name)
	content := m.content()
	switch m.rand.IntN(21) {
	case 0, 1, 2:
		m.push(repo, content)
		r.promise(content, m.Now().Add(life.Grace))
	case 3, 4:
		m.putImage(repo, r, content, m.content())
	case 5:
		m.moveTag(repo, r)
	case 6:
		m.deleteManifest(repo, r)
	case 7:
		_, err := m.Store.CheckBlob(m.t.Context(), repo, digestOf(content))
		if m.expect(err, r.holds(content, m.Now()), fault.BlobUnknown) {
			r.promise(content, m.Now().Add(life.HeadGrace/2))
		}
	case 8:
		m.deleteBlob(repo, r, content)
	case 9:
		fromName, from := m.pick()
		_, err := m.Store.MountBlob(m.t.Context(), cause(), m.repo(fromName), repo, digestOf(content))
		if m.expect(err, from.holds(content, m.Now()), fault.BlobUnknown) {
			r.promise(content, m.Now().Add(life.Grace))
		}
	case 10:
		m.Advance(time.Duration(m.rand.Int64N(int64(30 * time.Hour))))
		m.collect()
		m.cache.collected()
	case 11:
		m.end(repo, name)
	case 12:
		m.putIndex(repo, r)
	case 13, 14:
		m.adopt(repo, r, content, m.content())
	default:
		m.cache.stepCached(r)
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

func (m *model) putImage(repo meta.Repo, r *modelRepo, contents ...string) {
	m.t.Helper()
	var blobs []meta.Blob
	must := true
	for _, c := range contents {
		blobs = append(blobs, meta.Blob{Digest: digestOf(c), Size: int64(len(c))})
		must = must && r.holds(c, m.Now())
	}
	image := m.image(nil, blobs...)
	tag := fmt.Sprintf("v%d", m.rand.IntN(4))
	if m.expect(m.tryPut(repo, image, tag), must, fault.ManifestBlobUnknown) {
		r.manifests[image.Manifest.Digest] = modelManifest{put: image, contents: contents}
		r.tags[tag] = image.Manifest.Digest
	}
}

// putIndex puts an index of up to two manifests, which may be indexes.
func (m *model) putIndex(repo meta.Repo, r *modelRepo) {
	m.t.Helper()
	var children []meta.Manifest
	var digests []oci.Digest
	for range 2 {
		if d, one := m.pickManifest(r); d != "" {
			children, digests = append(children, one.put.Manifest), append(digests, d)
		}
	}
	index := m.index(children...)
	m.put(repo, index, "index")
	r.manifests[index.Manifest.Digest] = modelManifest{put: index, children: digests}
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

func (m *model) moveTag(repo meta.Repo, r *modelRepo) {
	m.t.Helper()
	if d, one := m.pickManifest(r); d != "" {
		m.put(repo, one.put, "moved")
		r.tags["moved"] = d
	}
}

// pickManifest picks by the seed alone; the digest is empty without manifests.
func (m *model) pickManifest(r *modelRepo) (oci.Digest, modelManifest) {
	digests := slices.Sorted(maps.Keys(r.manifests))
	if len(digests) == 0 {
		return "", modelManifest{}
	}
	d := digests[m.rand.IntN(len(digests))]
	return d, r.manifests[d]
}

func (m *model) deleteManifest(repo meta.Repo, r *modelRepo) {
	m.t.Helper()
	d, one := m.pickManifest(r)
	if d == "" {
		return
	}
	if parents := r.parents(d); len(parents) > 0 {
		named := m.parents(m.tryDelete(repo, d))
		if !slices.Equal(named, parents) && len(parents) <= meta.MaxParents {
			m.t.Errorf("%s is named by %v, want %v", d, named, parents)
		}
		return
	}
	m.must(m.tryDelete(repo, d))
	delete(r.manifests, d)
	maps.DeleteFunc(r.tags, func(_ string, at oci.Digest) bool { return at == d })
	for _, c := range one.contents {
		r.promise(c, m.Now().Add(meta.DefaultLifetimes.Released))
	}
}

func (m *model) deleteBlob(repo meta.Repo, r *modelRepo, content string) {
	m.t.Helper()
	err := m.Store.DeleteBlob(m.t.Context(), cause(), repo, digestOf(content))
	switch {
	case r.named(content):
		m.refused(err, fault.Unsupported, fault.UnsupportedReason)
	case r.provisional[content] && fault.Is(err, fault.UnsupportedReason):
	case m.expect(err, r.holds(content, m.Now()), fault.BlobUnknown):
		delete(r.promised, content)
	}
}

// end cancels an upload, or now and then deletes the whole repository.
func (m *model) end(repo meta.Repo, name string) {
	m.t.Helper()
	if m.rand.IntN(3) > 0 {
		m.must(m.Store.CancelUpload(m.t.Context(), repo, m.stage(repo, "cancelled").ID))
		return
	}
	m.deleteRepository(name)
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
		repo := m.repo(name)
		for d, one := range r.manifests {
			if _, err := m.Store.FindManifest(m.t.Context(), repo, oci.Reference{Digest: d}); err != nil {
				m.t.Errorf("%s@%s: %v", name, d, err)
			}
			for _, c := range one.contents {
				if _, err := m.Store.FindBlob(m.t.Context(), repo, digestOf(c)); err != nil {
					m.t.Errorf("%s of %s@%s: %v", c, name, d, err)
				}
			}
		}
		for _, tag := range []string{"v0", "v1", "v2", "v3", "moved", "index"} {
			if got := m.tagged(repo, tag); got != r.tags[tag] {
				m.t.Errorf("%s:%s is %q, want %q", name, tag, got, r.tags[tag])
			}
		}
	}
}
