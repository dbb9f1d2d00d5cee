package metatest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// client works in a repository of its own, on any node, and keeps books of what it
// was told is there.
type client struct {
	world
	nodes  []meta.Store
	kept   *keptBytes
	left   *atomic.Int64
	play   *rand.Rand
	repo   meta.Repo
	others []meta.Repo

	purges     *tenantPurges
	followed   int           // how many of them the client has seen
	unfollowed []*notedPurge // of those, the ones whose end the books do not have

	books
	deleted *deletedBooks
	reaches map[oci.Digest][]oci.Digest
	unsure  map[oci.Digest]bool // what an undelete that failed may have left there, or named, for a while
}

// clientContents is how many blobs all clients of a tenant share.
const clientContents = 12

func newClient(w world, i int, nodes []meta.Store, kept *keptBytes, left *atomic.Int64, purges *tenantPurges, seed uint64) *client {
	c := &client{
		world: w, nodes: nodes, kept: kept, left: left, repo: w.repo(fmt.Sprint("client", i)),
		play: rand.New(rand.NewPCG(seed, uint64(w.tenant)<<32|uint64(i))), purges: purges,
		books: newBooks(), reaches: map[oci.Digest][]oci.Digest{}, unsure: map[oci.Digest]bool{},
	}
	for other := range clientsOf {
		if other != i {
			c.others = append(c.others, w.repo(fmt.Sprint("client", other)))
		}
	}
	return c
}

func (c *client) run() {
	steps := []func(){
		c.pushImage, c.pushImage, c.pushImage, c.promote, c.pushIndex, c.pushAgain, c.pushAgain, c.compare,
		c.deleteManifest, c.deleteManifest, c.undeleteManifest, c.undeleteManifest, c.deleteTag, c.deleteBlob, c.deleteRepository, c.undeleteRepository, c.purge,
	}
	for c.left.Load() > 0 && !c.t.Failed() {
		c.follow()
		steps[c.play.IntN(len(steps))]()
	}
}

// anywhere counts a call, which is for any of the nodes.
func (c *client) anywhere() meta.Store {
	c.left.Add(-1)
	c.Store = c.nodes[c.play.IntN(len(c.nodes))]
	return c.Store
}

// wrong says what contradicts the books.
func (c *client) wrong(format string, args ...any) {
	c.t.Errorf("%s: %s", c.repo.Name, fmt.Sprintf(format, args...))
}

// obtain makes the repository hold a blob in one of the ways that clients know, and
// says since when that is promised.
func (c *client) obtain(content string) (time.Time, bool) {
	ctx, d, from := c.t.Context(), digestOf(content), c.others[c.play.IntN(len(c.others))]
	start := time.Now()
	var err error
	switch c.play.IntN(4) {
	case 0:
		_, err = c.anywhere().CheckBlob(ctx, c.repo, d)
		start = start.Add(-Hasty.HeadGrace / 2) // it is prolonged when half of it is over
	case 1:
		_, err = c.anywhere().MountBlob(ctx, cause(), from, c.repo, d)
	case 2:
		var missing []oci.Digest
		missing, err = c.anywhere().AdoptBlobs(ctx, cause(), []meta.Repo{from}, c.repo, []oci.Digest{d})
		if len(missing) > 0 {
			err = fault.New(fault.NotFound, fault.BlobUnknown, "missing")
		}
	default:
		err = fault.New(fault.NotFound, fault.BlobUnknown, "not looked for")
	}
	if fault.KindOf(err) == fault.NotFound {
		start = time.Now()
		err = c.upload(content)
	}
	switch {
	case err == nil:
		return start, true
	case fault.KindOf(err) != fault.Internal && c.purging(d): // its session ended
	default:
		c.wrong("%s: %v", content, err)
	}
	return start, false
}

func (c *client) upload(content string) error {
	c.anywhere()
	u, err := c.tryStage(c.repo, content)
	if err != nil {
		return err
	}
	c.kept.write(u.Stage.Key)
	if u, err = c.anywhere().SealUpload(c.t.Context(), u, digestOf(content)); err == nil {
		_, err = c.anywhere().CommitUpload(c.t.Context(), cause(), u, false)
	}
	return err
}

func (c *client) pushImage() {
	image := c.someImage()
	c.bring(c.reach(image), func() {
		if promised, ok := c.obtainAll(image); ok {
			c.putImage(image, image.put, promised, fmt.Sprint("v", c.play.IntN(4)))
		}
	})
}

func (c *client) someImage() modelManifest {
	var contents []string
	var blobs []meta.Blob
	for range 1 + c.play.IntN(3) {
		content := fmt.Sprint("content ", c.play.IntN(clientContents))
		contents, blobs = append(contents, content), append(blobs, described(content))
	}
	return modelManifest{put: c.image(nil, blobs...), contents: contents}
}

// promote puts an image provisionally, and then its tag, which requires it and a manifest
// that is there.
func (c *client) promote() {
	image := c.someImage()
	other, companion := c.any()
	c.bring(slices.Concat(c.reach(image), companion.reach), func() {
		promised, ok := c.obtainAll(image)
		copied, tagged := image.put, image.put
		copied.Provisional, copied.Verb, tagged.Verb, tagged.Gates = true, meta.TagPromoted, meta.TagPromoted, &meta.GateVersions{}
		if tagged.Requires = []oci.Digest{image.put.Manifest.Digest}; other != "" {
			tagged.Requires = append(tagged.Requires, other)
		}
		if !ok || !c.putImage(image, copied, promised) {
			return
		}
		if !c.putImage(image, tagged, promised, fmt.Sprint("v", c.play.IntN(4))) {
			for _, d := range c.reach(image) {
				c.unsure[d] = true
			}
		}
	})
}

// obtainAll makes the repository hold what an image names, and says since when that is
// promised.
func (c *client) obtainAll(image modelManifest) (time.Time, bool) {
	promised := time.Now()
	for _, content := range image.contents {
		since, ok := c.obtain(content)
		if !ok {
			return promised, false
		}
		if since.Before(promised) {
			promised = since
		}
	}
	return promised, true
}

// putImage puts an image whose blobs are there, and reports whether it is.
func (c *client) putImage(image modelManifest, put meta.ManifestPut, promised time.Time, tags ...string) bool {
	c.anywhere()
	err := c.tryPut(c.repo, put, tags...)
	switch {
	case err == nil && put.Provisional:
	case err == nil:
		c.live(image)
		for _, tag := range tags {
			c.tags[tag] = put.Manifest.Digest
		}
	case len(c.pending()) > 0 && fault.Is(err, fault.ManifestBlobUnknown): // also what only purged manifests named has ended
	case time.Since(promised) < Hasty.Grace, !fault.Is(err, fault.ManifestBlobUnknown):
		c.wrong("%s is refused after %s: %v", image.contents, time.Since(promised), err)
	}
	return err == nil
}

// any draws one of the manifests; the digest is empty without one.
func (c *client) any() (oci.Digest, clientManifest) {
	if len(c.manifests) == 0 {
		return "", clientManifest{}
	}
	d := slices.Sorted(maps.Keys(c.manifests))[c.play.IntN(len(c.manifests))]
	return d, c.manifests[d]
}

func (c *client) pushIndex() {
	if d, child := c.any(); d != "" {
		index := modelManifest{put: c.index(child.put.Manifest), children: []oci.Digest{d}}
		c.bring(c.reach(index), func() { c.pushed(index, "index") })
	}
}

// pushAgain moves a tag to a manifest that is there.
func (c *client) pushAgain() {
	if d, one := c.any(); d != "" {
		c.bring(one.reach, func() { c.pushed(one.modelManifest, fmt.Sprint("v", c.play.IntN(4))) })
	}
}

// pushed puts what must not be refused, unless a purge has ended what it names.
func (c *client) pushed(one modelManifest, tag string) {
	c.anywhere()
	err := c.tryPut(c.repo, one.put, tag)
	switch {
	case err == nil:
		c.live(one)
		c.tags[tag] = one.put.Manifest.Digest
	case fault.Is(err, fault.ManifestBlobUnknown) && c.disturbed(clientManifest{reach: c.reach(one)}):
	default:
		c.wrong("%s, all of which is there: %v", one.put.Manifest.Digest, err)
	}
}

// parents are the indexes that name a manifest.
func (c *client) parents(d oci.Digest) []clientManifest {
	var parents []clientManifest
	for _, one := range c.manifests {
		if slices.Contains(one.children, d) {
			parents = append(parents, one)
		}
	}
	return parents
}

func (c *client) deleteManifest() {
	d, one := c.any()
	if d == "" {
		return
	}
	parents := c.parents(d)
	c.anywhere()
	from := time.Now()
	err := c.tryDelete(c.repo, d)
	switch {
	case err == nil && (len(parents) == 0 || c.disturbed(parents...)):
		c.gone(d, from)
	case (len(parents) > 0 || c.unsure[d]) && fault.Is(err, fault.UnsupportedReason):
	case fault.Is(err, fault.ManifestUnknown) && c.disturbed(one):
	default:
		c.wrong("%s, named by an index: %t, is deleted: %v", d, len(parents) > 0, err)
	}
}

func (c *client) deleteTag() {
	tag := fmt.Sprint("v", c.play.IntN(4))
	err := c.anywhere().DeleteTag(c.t.Context(), cause(), c.repo, tag)
	there := c.tags[tag] != ""
	if there && fault.KindOf(err) == fault.NotFound && c.disturbed(c.manifests[c.tags[tag]]) {
		there = false
	}
	if (err == nil) != there || err != nil && fault.KindOf(err) != fault.NotFound {
		c.wrong("%s, at %q, is deleted: %v", tag, c.tags[tag], err)
	}
	delete(c.tags, tag)
}

func (c *client) deleteBlob() {
	content := fmt.Sprint("content ", c.play.IntN(clientContents))
	var naming []clientManifest
	for _, one := range c.manifests {
		if slices.Contains(one.contents, content) {
			naming = append(naming, one)
		}
	}
	err := c.anywhere().DeleteBlob(c.t.Context(), cause(), c.repo, digestOf(content))
	named := slices.ContainsFunc(naming, func(one clientManifest) bool { return !c.disturbed(one) })
	switch {
	case (c.unsure[digestOf(content)] || len(naming) > 0) && fault.Is(err, fault.UnsupportedReason):
	case named, err != nil && fault.KindOf(err) != fault.NotFound:
		c.wrong("%s, named: %t, is deleted: %v", content, named, err)
	}
}

// deleteRepository is rare.
func (c *client) deleteRepository() {
	if c.play.IntN(10) > 0 {
		return
	}
	from := time.Now()
	err := c.anywhere().DeleteRepository(c.t.Context(), cause(), c.repo)
	switch {
	case err != nil && (c.undisturbed() > 0 || fault.KindOf(err) != fault.NotFound):
		c.wrong("with %d manifests, is deleted: %v", len(c.manifests), err)
	case err == nil || len(c.manifests) == 0:
		c.repositoryGone(from)
	}
}

// compare reads all that the books say is there, down to the bytes.
func (c *client) compare() {
	ctx := c.t.Context()
	wrong := func(one clientManifest, format string, args ...any) {
		if !c.disturbed(one) {
			c.wrong(format, args...)
		}
	}
	for d, one := range c.manifests {
		m, err := c.anywhere().FindManifest(ctx, c.repo, oci.Reference{Digest: d})
		if err != nil || string(m.Payload) != string(one.put.Manifest.Payload) {
			wrong(one, "%s is %q: %v", d, m.Payload, err)
		}
		for _, content := range one.contents {
			b, err := c.anywhere().FindBlob(ctx, c.repo, digestOf(content))
			if err != nil || !c.kept.has(b.Key) {
				wrong(one, "%s of %s at %s: there %t, %v", content, d, b.Key, c.kept.has(b.Key), err)
			}
		}
	}
	for tag, d := range c.tags {
		m, err := c.anywhere().FindManifest(ctx, c.repo, oci.Reference{Tag: tag})
		if err != nil || m.Digest != d {
			wrong(c.manifests[d], "%s is %s, want %s: %v", tag, m.Digest, d, err)
		}
	}
}
