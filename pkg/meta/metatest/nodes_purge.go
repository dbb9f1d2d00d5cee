package metatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// tenantPurges are the purges of a tenant, which all its clients follow. Its clock
// orders their answers.
type tenantPurges struct {
	mu    sync.Mutex
	clock uint64
	all   []*notedPurge
	alone map[oci.Digest]*sync.RWMutex // held by a purge that no client brings its digest to
}

// notedPurge is a purge that was requested.
type notedPurge struct {
	digest oci.Digest
	began  uint64 // before its request
	over   bool   // nothing is ended any more
	whole  bool   // over, and what was there before it began has ended
}

func newTenantPurges() *tenantPurges {
	return &tenantPurges{alone: map[oci.Digest]*sync.RWMutex{}}
}

// now is later than all that was before.
func (p *tenantPurges) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock++
	return p.clock
}

func (p *tenantPurges) begin(d oci.Digest) *notedPurge {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock++
	noted := &notedPurge{digest: d, began: p.clock}
	p.all = append(p.all, noted)
	return noted
}

func (p *tenantPurges) end(noted *notedPurge, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	noted.over, noted.whole = true, whole
}

// since are those after the first n, and over those of some that are over.
func (p *tenantPurges) since(n int) []*notedPurge {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all[n:])
}

func (p *tenantPurges) over(some []*notedPurge) []*notedPurge {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(some), func(one *notedPurge) bool { return !one.over })
}

// whole is how many ended all that was there before.
func (p *tenantPurges) whole() int {
	n := 0
	for _, one := range p.all {
		if one.whole {
			n++
		}
	}
	return n
}

func (p *tenantPurges) lock(d oci.Digest) *sync.RWMutex {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alone[d] == nil {
		p.alone[d] = &sync.RWMutex{}
	}
	return p.alone[d]
}

// bring pushes digests, unless a purge wants to be alone with one of them.
func (c *client) bring(digests []oci.Digest, push func()) {
	for _, d := range digests {
		l := c.purges.lock(d)
		if !l.TryRLock() {
			return
		}
		defer l.RUnlock()
	}
	push()
}

// pending are the purges whose end the books do not have.
func (c *client) pending() []*notedPurge {
	some := c.purges.since(c.followed)
	c.followed += len(some)
	c.unfollowed = append(c.unfollowed, some...)
	return c.unfollowed
}

// purging says whether a purge of a digest may have met what was just done.
func (c *client) purging(d oci.Digest) bool {
	return slices.ContainsFunc(c.pending(), func(p *notedPurge) bool { return p.digest == d })
}

// disturbed says whether a purge may have ended some of the manifests since the books
// were written.
func (c *client) disturbed(some ...clientManifest) bool {
	return slices.ContainsFunc(c.pending(), func(p *notedPurge) bool {
		return slices.ContainsFunc(some, func(one clientManifest) bool { return slices.Contains(one.reach, p.digest) })
	})
}

// undisturbed is how many manifests are there for certain.
func (c *client) undisturbed() int {
	n := 0
	for _, one := range c.manifests {
		if !c.disturbed(one) {
			n++
		}
	}
	return n
}

// follow brings the books up to date with purges that are over.
func (c *client) follow() {
	for _, p := range c.purges.over(c.pending()) {
		c.unfollowed = slices.DeleteFunc(c.unfollowed, func(one *notedPurge) bool { return one == p })
		for _, one := range c.manifests {
			if slices.Contains(one.reach, p.digest) {
				c.look(one, p.whole && one.at < p.began)
			}
		}
		if slices.ContainsFunc(slices.Collect(maps.Values(c.trashed)), func(one clientTrash) bool { return slices.Contains(one.reach, p.digest) }) {
			c.lookIntoTrash(p)
		}
		if c.deleted != nil {
			c.deleted.follow(p)
		}
	}
}

// look finds out whether a purge has ended a manifest; certain, it must have.
func (c *client) look(one clientManifest, certain bool) {
	ctx, d := c.t.Context(), one.put.Manifest.Digest
	_, err := c.anywhere().FindManifest(ctx, c.repo, oci.Reference{Digest: d})
	switch {
	case err != nil && fault.KindOf(err) != fault.NotFound:
		c.wrong("%s after a purge: %v", d, err)
	case err == nil && certain:
		c.wrong("%s is there after its purge", d)
	case err != nil:
		delete(c.manifests, d)
	}
	for tag, at := range c.tags {
		if at != d {
			continue
		}
		m, found := c.anywhere().FindManifest(ctx, c.repo, oci.Reference{Tag: tag})
		switch {
		case fault.KindOf(found) == fault.NotFound:
			delete(c.tags, tag)
		case found != nil, err != nil, m.Digest != d:
			c.wrong("after a purge, %s (%v) is tagged %s: %s, %v", d, err, tag, m.Digest, found)
		}
		if certain {
			c.forgotten(tag, one)
		}
	}
}

// forgotten looks for a purged manifest in the history of a tag. Another purge that ended
// the manifest may be about to forget it.
func (c *client) forgotten(tag string, one clientManifest) {
	d := one.put.Manifest.Digest
	history, err := c.anywhere().ListTagHistory(c.t.Context(), c.repo, tag, meta.Page{Size: meta.MaxTagChanges})
	if err != nil && !fault.Is(err, fault.NameUnknown) {
		c.wrong("the history of %s: %v", tag, err)
	}
	for _, change := range history {
		if (change.Digest == d || change.Previous == d) && !c.disturbed(one) {
			c.wrong("the history of %s has %s after its purge: %+v", tag, d, change)
		}
	}
}

// lookIntoTrash finds out what of the trash a purge has ended.
func (c *client) lookIntoTrash(p *notedPurge) {
	listed := map[oci.Digest]bool{}
	for after := ""; ; {
		page, err := c.anywhere().ListTrash(c.t.Context(), c.repo, meta.Page{After: after, Size: 100})
		if err != nil && !fault.Is(err, fault.NameUnknown) {
			c.wrong("the trash: %v", err)
		}
		for _, one := range page {
			listed[one.Digest] = true
		}
		if len(page) < 100 {
			break
		}
		after = page[99].Digest.String()
	}
	for d, one := range c.trashed {
		switch {
		case !slices.Contains(one.reach, p.digest):
		case !listed[d]:
			delete(c.trashed, d)
		case one.mustEnd(p):
			c.wrong("%s is in the trash after the purge of %s", d, p.digest)
		}
	}
}

// mustEnd says whether a purge must have ended it in the trash. What it names through a
// child that is gone does not count.
func (one clientTrash) mustEnd(p *notedPurge) bool {
	return p.whole && one.at < p.began && (one.put.Manifest.Digest == p.digest || slices.Contains(one.children, p.digest) ||
		slices.ContainsFunc(one.contents, func(content string) bool { return digestOf(content) == p.digest }))
}

// follow notes what a purge has ended, and what it may have ended, which is looked for
// when the repository is restored.
func (b *deletedBooks) follow(p *notedPurge) {
	for d, one := range b.manifests {
		if slices.Contains(one.reach, p.digest) {
			b.doubts[d] = b.doubts[d] || p.whole && one.at < p.began
		}
	}
	for d, one := range b.trashed {
		if slices.Contains(one.reach, p.digest) {
			delete(b.trashed, d)
		}
	}
}

// purgeOneIn makes purges rare: each ends much of what all clients have.
const purgeOneIn = 2

// purge purges a digest of the tenant: of a blob, or of a manifest that is there, in the
// trash or in a deleted repository. It may lose its process, may be refused if it is not
// forced, and may want no other client to bring the digest meanwhile.
func (c *client) purge() {
	if c.play.IntN(purgeOneIn) > 0 {
		return
	}
	d := digestOf(fmt.Sprint("content ", c.play.IntN(clientContents)))
	others := slices.Concat(slices.Sorted(maps.Keys(c.manifests)), slices.Sorted(maps.Keys(c.trashed)))
	if c.deleted != nil {
		others = append(others, slices.Sorted(maps.Keys(c.deleted.manifests))...)
	}
	if len(others) > 0 && c.play.IntN(2) == 0 {
		d = others[c.play.IntN(len(others))]
	}
	alone := c.play.IntN(2) == 0
	if alone {
		l := c.purges.lock(d)
		l.Lock()
		defer l.Unlock()
	}
	noted := c.purges.begin(d)
	p := meta.DigestPurge{Tenant: c.tenant, Digest: d, Force: c.play.IntN(3) > 0, By: meta.Cause{Op: uuid.New()}}
	state, err := c.finishPurge(p)
	c.purges.end(noted, err == nil && !state.Present)
	switch {
	case alone && p.Force && (err != nil || state.Present):
		c.wrong("%s, which no client brings, is purged: %+v, %v", d, state, err)
	case err != nil && !fault.Is(err, fault.NotEmpty) && !fault.Is(err, fault.Busy):
		c.wrong("%s is purged, forced: %t: %v", d, p.Force, err)
	}
}

// finishPurge waits until a purge is over. Some are cut off and left to the janitors,
// before they are requested again.
func (c *client) finishPurge(p meta.DigestPurge) (meta.PurgeState, error) {
	ctx := c.t.Context()
	if c.play.IntN(2) == 0 {
		within, cancel := context.WithTimeout(ctx, time.Duration(c.play.IntN(20))*time.Millisecond)
		_, _ = c.anywhere().PurgeDigest(within, p) // the next request says what came of it
		cancel()
		if err := c.purgeEnds(p.Digest); err != nil {
			return meta.PurgeState{}, err
		}
	}
	state, err := c.anywhere().PurgeDigest(ctx, p)
	if err != nil || !state.Running {
		return state, err
	}
	if err := c.purgeEnds(p.Digest); err != nil {
		return state, err
	}
	return c.anywhere().FindPurge(ctx, c.tenant, p.Digest)
}

// purgeEnds waits for the janitors to end a purge.
func (c *client) purgeEnds(d oci.Digest) error {
	var state meta.PurgeState
	var err error
	waited := await.Within(c.t.Context(), time.Minute, "the purge ends", func() bool {
		state, err = c.anywhere().FindPurge(c.t.Context(), c.tenant, d)
		return err != nil || !state.Running
	})
	return errors.Join(err, waited)
}
