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

	books
	deleted *deletedBooks
	unsure  map[string]bool // blobs that an undelete which failed may have left named for a while
}

func newClient(w world, i, n int, nodes []meta.Store, kept *keptBytes, left *atomic.Int64, seed uint64) *client {
	c := &client{
		world: w, nodes: nodes, kept: kept, left: left, repo: w.repo(fmt.Sprint("client", i)),
		play:  rand.New(rand.NewPCG(seed, uint64(i))),
		books: newBooks(), unsure: map[string]bool{},
	}
	for other := range n {
		if other != i {
			c.others = append(c.others, w.repo(fmt.Sprint("client", other)))
		}
	}
	return c
}

func (c *client) run() {
	steps := []func(){
		c.pushImage, c.pushImage, c.pushImage, c.pushIndex, c.pushAgain, c.pushAgain, c.compare,
		c.deleteManifest, c.deleteManifest, c.undeleteManifest, c.undeleteManifest, c.deleteTag, c.deleteBlob, c.deleteRepository, c.undeleteRepository,
	}
	for c.left.Load() > 0 && !c.t.Failed() {
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
	if err != nil {
		c.wrong("%s: %v", content, err)
	}
	return start, err == nil
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
	var contents []string
	var blobs []meta.Blob
	promised := time.Now()
	for range 1 + c.play.IntN(3) {
		content := fmt.Sprint("content ", c.play.IntN(12))
		since, ok := c.obtain(content)
		if !ok {
			return
		}
		if since.Before(promised) {
			promised = since
		}
		contents, blobs = append(contents, content), append(blobs, described(content))
	}
	image := c.image(nil, blobs...)
	tag := fmt.Sprint("v", c.play.IntN(4))
	c.anywhere()
	err := c.tryPut(c.repo, image, tag)
	switch {
	case err == nil:
		c.live(image.Manifest.Digest, modelManifest{put: image, contents: contents})
		c.tags[tag] = image.Manifest.Digest
	case time.Since(promised) < Hasty.Grace, !fault.Is(err, fault.ManifestBlobUnknown):
		c.wrong("%s is refused after %s: %v", contents, time.Since(promised), err)
	}
}

// any draws one of the manifests; the digest is empty without one.
func (c *client) any() (oci.Digest, modelManifest) {
	if len(c.manifests) == 0 {
		return "", modelManifest{}
	}
	d := slices.Sorted(maps.Keys(c.manifests))[c.play.IntN(len(c.manifests))]
	return d, c.manifests[d]
}

func (c *client) pushIndex() {
	if d, child := c.any(); d != "" {
		index := c.index(child.put.Manifest)
		c.pushed(index, "index")
		c.live(index.Manifest.Digest, modelManifest{put: index, children: []oci.Digest{d}})
	}
}

// pushAgain moves a tag to a manifest that is there.
func (c *client) pushAgain() {
	if d, one := c.any(); d != "" {
		c.pushed(one.put, fmt.Sprint("v", c.play.IntN(4)))
	}
}

// pushed puts what must not be refused.
func (c *client) pushed(p meta.ManifestPut, tag string) {
	c.anywhere()
	if err := c.tryPut(c.repo, p, tag); err != nil {
		c.wrong("%s, all of which is there: %v", p.Manifest.Digest, err)
	}
	c.tags[tag] = p.Manifest.Digest
}

func (c *client) deleteManifest() {
	d, _ := c.any()
	if d == "" {
		return
	}
	named := slices.ContainsFunc(slices.Collect(maps.Values(c.manifests)), func(m modelManifest) bool { return slices.Contains(m.children, d) })
	c.anywhere()
	from := time.Now()
	if err := c.tryDelete(c.repo, d); (err != nil) != named {
		c.wrong("%s, named by an index: %t, is deleted: %v", d, named, err)
	}
	if !named {
		c.gone(d, from)
	}
}

func (c *client) deleteTag() {
	tag := fmt.Sprint("v", c.play.IntN(4))
	err := c.anywhere().DeleteTag(c.t.Context(), cause(), c.repo, tag)
	if (err == nil) != (c.tags[tag] != "") || err != nil && fault.KindOf(err) != fault.NotFound {
		c.wrong("%s, at %q, is deleted: %v", tag, c.tags[tag], err)
	}
	delete(c.tags, tag)
}

func (c *client) deleteBlob() {
	content := fmt.Sprint("content ", c.play.IntN(12))
	named := slices.ContainsFunc(slices.Collect(maps.Values(c.manifests)), func(m modelManifest) bool { return slices.Contains(m.contents, content) })
	err := c.anywhere().DeleteBlob(c.t.Context(), cause(), c.repo, digestOf(content))
	switch {
	case c.unsure[content] && fault.Is(err, fault.UnsupportedReason):
	case named && !fault.Is(err, fault.UnsupportedReason), !named && err != nil && fault.KindOf(err) != fault.NotFound:
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
	if err != nil && (len(c.manifests) > 0 || fault.KindOf(err) != fault.NotFound) {
		c.wrong("with %d manifests, is deleted: %v", len(c.manifests), err)
	}
	c.repositoryGone(from)
}

// compare reads all that the books say is there, down to the bytes.
func (c *client) compare() {
	ctx := c.t.Context()
	for d, one := range c.manifests {
		m, err := c.anywhere().FindManifest(ctx, c.repo, oci.Reference{Digest: d})
		if err != nil || string(m.Payload) != string(one.put.Manifest.Payload) {
			c.wrong("%s is %q: %v", d, m.Payload, err)
		}
		for _, content := range one.contents {
			b, err := c.anywhere().FindBlob(ctx, c.repo, digestOf(content))
			if err != nil || !c.kept.has(b.Key) {
				c.wrong("%s of %s at %s: there %t, %v", content, d, b.Key, c.kept.has(b.Key), err)
			}
		}
	}
	for tag, d := range c.tags {
		m, err := c.anywhere().FindManifest(ctx, c.repo, oci.Reference{Tag: tag})
		if err != nil || m.Digest != d {
			c.wrong("%s is %s, want %s: %v", tag, m.Digest, d, err)
		}
	}
}
