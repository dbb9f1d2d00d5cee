package pgmeta

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
)

// imageIn is a manifest in a repository.
type imageIn struct {
	repo   string
	digest oci.Digest
}

func (i imageIn) String() string { return i.repo + "@" + i.digest.String() }

// ackedImage is what a client was told is there.
type ackedImage struct {
	contents []string
	ack      int // grows with each acknowledgement
}

// imageBooks are what all clients were told is there, and did not begin to take away.
type imageBooks struct {
	mu      sync.Mutex
	images  map[imageIn]ackedImage
	acks    int
	purges  int // that began
	running bool
}

func (b *imageBooks) ack(where imageIn, contents []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acks++
	b.images[where] = ackedImage{contents, b.acks}
}

func (b *imageBooks) drop(gone func(imageIn, ackedImage) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.images, gone)
}

func (b *imageBooks) purge(running bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running = running; running {
		b.purges++
	}
}

// copy is what they say now, how many purges began, and whether one is running.
func (b *imageBooks) copy() (map[imageIn]ackedImage, int, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.images), b.purges, b.running
}

// dayClient works in a repository of its own.
type dayClient struct {
	*days
	play   *rand.Rand
	repo   meta.Repo
	cache  meta.Repo
	others []string // names of the other clients' repositories

	live    map[oci.Digest]dayImage
	trashed map[oci.Digest]dayImage
	deleted map[oci.Digest]dayImage // with the repository, the last time
}

// dayImage is an image, or an index of one.
type dayImage struct {
	ocitest.Content
	contents []string
	child    oci.Digest
}

func (d dayImage) stored() meta.Manifest {
	return meta.Manifest{Digest: d.Digest, MediaType: d.MediaType, Payload: d.Bytes}
}

func newDayClient(d *days, i int, r meta.Repo, cache tenant.RegistryID, seed uint64) *dayClient {
	c := &dayClient{
		days: d, play: rand.New(rand.NewPCG(seed, uint64(i))), repo: r, cache: r,
		live: map[oci.Digest]dayImage{}, trashed: map[oci.Digest]dayImage{}, deleted: map[oci.Digest]dayImage{},
	}
	c.repo.Name = fmt.Sprint("client", i)
	c.cache.Registry, c.cache.Name = cache, "library/app"
	for other := range 3 {
		c.others = append(c.others, fmt.Sprint("client", other))
	}
	return c
}

// call does one thing.
func (c *dayClient) call() {
	steps := []func() error{
		c.push, c.push, c.push, c.push, c.push, c.push, c.push, c.pushIndex, c.delete, c.delete, c.delete, c.delete, c.undelete, c.undelete,
		c.deleteTag, c.deleteRepository, c.undeleteRepository, c.abandon, c.replace, c.fetch,
	}
	var err error
	if c.play.IntN(80) == 0 {
		err = c.purge()
	} else {
		c.turn.RLock()
		err = steps[c.play.IntN(len(steps))]()
		c.turn.RUnlock()
	}
	// Another client's purge, replacement or deletion may have come first.
	if k := fault.KindOf(err); err != nil && k != fault.NotFound && k != fault.Conflict && !fault.Is(err, fault.UnsupportedReason) {
		c.t.Errorf("%s: %v", c.repo.Name, err)
	}
}

// content is one of those that are pushed at this time.
func (c *dayClient) content() string { return fmt.Sprint("content ", len(c.moments)/3+c.play.IntN(10)) }

// upload uploads a blob.
func (c *dayClient) upload(r meta.Repo, content string, by meta.Cause, heal bool) error {
	ctx := c.t.Context()
	u, err := c.s.CreateUpload(ctx, r, oci.SHA256)
	if err == nil {
		c.bytes.write(u.Stage.Key)
		u, err = c.s.AdvanceUpload(ctx, u, blob.Progress{Offset: int64(len(content))})
	}
	if err == nil {
		u, err = c.s.SealUpload(ctx, u, digestOf(content))
	}
	if err == nil {
		_, err = c.s.CommitUpload(ctx, by, u, heal)
	}
	return err
}

// obtain mounts a blob, or uploads it.
func (c *dayClient) obtain(content string) error {
	if c.play.IntN(2) == 0 {
		from := c.repo
		from.Name = c.others[c.play.IntN(len(c.others))]
		if _, err := c.s.MountBlob(c.t.Context(), meta.Cause{Op: uuid.New()}, from, c.repo, digestOf(content)); fault.KindOf(err) != fault.NotFound {
			return err
		}
	}
	return c.upload(c.repo, content, meta.Cause{Op: uuid.New()}, false)
}

// imageOf is an image of blobs: the first is its config.
func imageOf(contents ...string) dayImage {
	var layers []ocitest.Content
	for _, content := range contents[1:] {
		layers = append(layers, ocitest.Layer([]byte(content)))
	}
	return dayImage{Content: ocitest.Manifest(ocitest.Config([]byte(contents[0])), layers...), contents: contents}
}

func (c *dayClient) put(one dayImage) error {
	for _, content := range one.contents {
		if err := c.obtain(content); err != nil {
			return err
		}
	}
	parsed, err := oci.ParseManifest(one.MediaType, one.Bytes)
	if err == nil {
		err = c.s.PutManifest(c.t.Context(), meta.ManifestPut{
			Repo: c.repo, Tags: []string{fmt.Sprint("v", c.play.IntN(4))}, By: meta.Cause{Op: uuid.New()}, Manifest: one.stored(), Parsed: parsed,
		})
	}
	if err == nil {
		c.acked(one.Digest, one)
	}
	return err
}

func (c *dayClient) acked(d oci.Digest, one dayImage) {
	c.live[d] = one
	delete(c.trashed, d)
	c.books.ack(imageIn{c.repo.Name, d}, one.contents)
}

func (c *dayClient) push() error {
	return c.put(imageOf(c.content(), c.content()))
}

// any draws one.
func (c *dayClient) any(of map[oci.Digest]dayImage) oci.Digest {
	if len(of) == 0 {
		return ""
	}
	return slices.Sorted(maps.Keys(of))[c.play.IntN(len(of))]
}

func (c *dayClient) pushIndex() error {
	d := c.any(c.live)
	if d == "" {
		return nil
	}
	return c.put(dayImage{Content: ocitest.Index(c.live[d].Content), child: d})
}

func (c *dayClient) delete() error {
	d := c.any(c.live)
	if d == "" {
		return nil
	}
	one := c.live[d]
	c.books.drop(func(where imageIn, _ ackedImage) bool { return where == imageIn{c.repo.Name, d} })
	err := c.s.DeleteManifest(c.t.Context(), meta.ManifestDelete{Repo: c.repo, Digest: d, By: meta.Cause{Op: uuid.New()}})
	switch {
	case err == nil:
		delete(c.live, d)
		c.trashed[d] = one
	case fault.Is(err, fault.UnsupportedReason): // an index names it
		c.acked(d, one)
	}
	return err
}

func (c *dayClient) undelete() error {
	d := c.any(c.trashed)
	if d == "" {
		return nil
	}
	err := c.s.UndeleteManifest(c.t.Context(), meta.ManifestUndelete{Repo: c.repo, Digest: d, By: meta.Cause{Op: uuid.New()}})
	if err != nil {
		return err
	}
	one := c.trashed[d]
	c.acked(d, one)
	if child, was := c.trashed[one.child]; was {
		c.acked(one.child, child)
	}
	return nil
}

func (c *dayClient) deleteTag() error {
	return c.s.DeleteTag(c.t.Context(), meta.Cause{Op: uuid.New()}, c.repo, fmt.Sprint("v", c.play.IntN(4)))
}

// deleteRepository is rare.
func (c *dayClient) deleteRepository() error {
	if c.play.IntN(4) > 0 {
		return nil
	}
	c.books.drop(func(where imageIn, _ ackedImage) bool { return where.repo == c.repo.Name })
	err := c.s.DeleteRepository(c.t.Context(), meta.Cause{Op: uuid.New()}, c.repo)
	if err == nil {
		c.deleted, c.live, c.trashed = c.live, map[oci.Digest]dayImage{}, map[oci.Digest]dayImage{}
	}
	return err
}

func (c *dayClient) undeleteRepository() error {
	if len(c.deleted) == 0 || len(c.live) > 0 {
		return nil
	}
	err := c.s.UndeleteRepository(c.t.Context(), meta.RepositoryUndelete{Repo: c.repo, By: meta.Cause{Op: uuid.New()}})
	if err != nil {
		return err
	}
	c.trashed = map[oci.Digest]dayImage{}
	for d, one := range c.deleted {
		c.acked(d, one)
	}
	c.deleted = map[oci.Digest]dayImage{}
	return nil
}

// abandon begins an upload.
func (c *dayClient) abandon() error {
	u, err := c.s.CreateUpload(c.t.Context(), c.repo, oci.SHA256)
	if err == nil {
		c.bytes.write(u.Stage.Key)
	}
	return err
}

// replace pushes a blob again that was taken for wrong, into another object.
func (c *dayClient) replace() error {
	content := c.content()
	b, err := c.s.FindBlob(c.t.Context(), c.repo, digestOf(content))
	if err == nil {
		err = c.s.MarkSuspect(c.t.Context(), b)
	}
	if err != nil {
		return err
	}
	return c.upload(c.repo, content, meta.Cause{Op: uuid.New()}, true)
}

// fetch stores what an upstream gave, for a while.
func (c *dayClient) fetch() error {
	one := imageOf(c.content())
	if err := c.upload(c.cache, one.contents[0], meta.Cause{}, false); err != nil {
		return err
	}
	parsed, err := oci.ParseManifest(one.MediaType, one.Bytes)
	if err == nil {
		err = c.s.PutCached(c.t.Context(), meta.CachedPut{Repo: c.cache, Manifest: one.stored(), Parsed: parsed, Tag: "latest", Keep: time.Hour})
	}
	return err
}

// purge ends a blob of a live image everywhere, while the other clients wait.
func (c *dayClient) purge() error {
	c.turn.Lock()
	defer c.turn.Unlock()
	one := c.live[c.any(c.live)]
	if len(one.contents) == 0 {
		return nil
	}
	secret := one.contents[0]
	for _, other := range c.clients {
		other.lose(secret)
	}
	c.books.purge(true)
	defer c.books.purge(false)
	_, err := c.s.PurgeDigest(c.t.Context(), meta.DigestPurge{Tenant: c.repo.Tenant, Digest: digestOf(secret), Force: true, By: meta.Cause{Op: uuid.New()}})
	return err
}

// lose forgets what names a content, and indexes of it.
func (c *dayClient) lose(content string) {
	gone := map[oci.Digest]bool{}
	for _, of := range []map[oci.Digest]dayImage{c.live, c.trashed, c.deleted} {
		for d, one := range of {
			gone[d] = gone[d] || slices.Contains(one.contents, content)
		}
	}
	for range 3 { // an index of an index
		for _, of := range []map[oci.Digest]dayImage{c.live, c.trashed, c.deleted} {
			for d, one := range of {
				gone[d] = gone[d] || gone[one.child]
			}
		}
	}
	for _, of := range []map[oci.Digest]dayImage{c.live, c.trashed, c.deleted} {
		maps.DeleteFunc(of, func(d oci.Digest, _ dayImage) bool { return gone[d] })
	}
	c.books.drop(func(where imageIn, _ ackedImage) bool { return where.repo == c.repo.Name && gone[where.digest] })
}
