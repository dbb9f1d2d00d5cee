package metatest

import (
	"maps"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// books are what a client was told is there.
type books struct {
	manifests map[oci.Digest]clientManifest
	tags      map[string]oci.Digest
	trashed   map[oci.Digest]clientTrash
}

func newBooks() books {
	return books{map[oci.Digest]clientManifest{}, map[string]oci.Digest{}, map[oci.Digest]clientTrash{}}
}

// deletedBooks are those of the repository that was deleted last, and the time before.
type deletedBooks struct {
	books
	from   time.Time
	empty  bool                // a purge may have ended all that was in it before
	doubts map[oci.Digest]bool // what a purge may have ended since; true: it has
}

// clientManifest is a manifest that a client put or deleted.
type clientManifest struct {
	modelManifest
	reach []oci.Digest // it, and all that it names: a purge of one of them ends it
	at    uint64       // after it was acknowledged, by the clock of the purges
}

// clientTrash is a manifest that a client deleted, and the time before it did.
type clientTrash struct {
	clientManifest
	tags []string
	from time.Time
}

// reach are a manifest and all that it names, also what has ended since.
func (c *client) reach(one modelManifest) []oci.Digest {
	d := one.put.Manifest.Digest
	if c.reaches[d] == nil {
		all := []oci.Digest{d}
		for _, content := range one.contents {
			all = append(all, digestOf(content))
		}
		for _, child := range one.children {
			all = append(all, c.reaches[child]...)
		}
		c.reaches[d] = all
	}
	return c.reaches[d]
}

// live notes a manifest that is there.
func (c *client) live(one modelManifest) {
	d := one.put.Manifest.Digest
	c.manifests[d] = clientManifest{one, c.reach(one), c.purges.now()}
	delete(c.trashed, d)
}

// gone notes a manifest that is deleted.
func (c *client) gone(d oci.Digest, from time.Time) {
	kept := clientTrash{clientManifest: c.manifests[d], from: from}
	kept.at = c.purges.now()
	for tag, at := range c.tags {
		if at == d {
			kept.tags = append(kept.tags, tag)
			delete(c.tags, tag)
		}
	}
	delete(c.manifests, d)
	c.trashed[d] = kept
}

// needs are the manifests in the trash that an undelete restores, the lowest first, and
// since when the oldest is there; false if a child is gone for good.
func (c *client) needs(d oci.Digest) ([]oci.Digest, time.Time, bool) {
	var all []oci.Digest
	from := c.trashed[d].from
	for _, child := range c.trashed[d].children {
		if _, there := c.manifests[child]; there {
			continue
		}
		if _, there := c.trashed[child]; !there {
			return nil, from, false
		}
		below, since, ok := c.needs(child)
		if !ok {
			return nil, from, false
		}
		if since.Before(from) {
			from = since
		}
		all = append(all, below...)
	}
	return append(all, d), from, true
}

// undeleteManifest restores one that is in the trash, or was.
func (c *client) undeleteManifest() {
	if len(c.trashed) == 0 {
		return
	}
	d := slices.Sorted(maps.Keys(c.trashed))[c.play.IntN(len(c.trashed))]
	tags := c.trashed[d].tags
	all, from, whole := c.needs(d)
	c.anywhere()
	err := c.undelete(c.repo, d)
	inTime := time.Since(from) < Hasty.Undelete
	taken := slices.ContainsFunc(tags, func(tag string) bool { return c.tags[tag] != "" })
	kept := slices.ContainsFunc(tags, func(tag string) bool { return c.tags[tag] != "" && !c.disturbed(c.manifests[c.tags[tag]]) })
	purged := c.disturbed(c.trashed[d].clientManifest)
	switch {
	case err == nil && (kept || !whole && !slices.ContainsFunc(c.trashed[d].children, func(child oci.Digest) bool { return c.unsure[child] })):
		c.wrong("%s is restored; tags %s taken: %t, with all children: %t", d, tags, kept, whole)
	case err == nil:
		for _, restored := range all {
			c.live(c.trashed[restored].modelManifest)
		}
		for _, tag := range tags {
			c.tags[tag] = d
		}
		return
	case inTime && !taken && whole && !purged,
		!fault.Is(err, fault.ManifestUnknown) && !fault.Is(err, fault.ManifestBlobUnknown) && !fault.Is(err, fault.AlreadyExists):
		c.wrong("%s, in time: %t, is not restored: %v", d, inTime, err)
	}
	if inTime && !purged {
		return
	}
	for _, child := range all { // some may have come back for a while
		for _, named := range c.trashed[child].reach {
			c.unsure[named] = true
		}
	}
	if !inTime {
		delete(c.trashed, d)
	}
}

// repositoryGone notes that the repository is deleted. One without manifests can be
// restored only if the janitor had left some of its trash.
func (c *client) repositoryGone(from time.Time) {
	c.deleted = nil
	if len(c.manifests) > 0 {
		c.deleted = &deletedBooks{c.books, from, c.undisturbed() == 0, map[oci.Digest]bool{}}
	}
	c.books = newBooks()
}

// undeleteRepository restores the one that was deleted last.
func (c *client) undeleteRepository() {
	if c.deleted == nil {
		return
	}
	err := c.anywhere().UndeleteRepository(c.t.Context(), meta.RepositoryUndelete{Repo: c.repo, By: cause()})
	inTime := time.Since(c.deleted.from) < Hasty.Undelete
	switch {
	case err == nil && c.undisturbed() > 0:
		c.wrong("with %d manifests, is replaced by a deleted one", len(c.manifests))
	case err == nil:
		doubts := c.deleted.doubts
		c.books, c.deleted = c.deleted.books, nil
		for d, certain := range doubts {
			c.look(c.manifests[d], certain)
		}
	case (!inTime || c.deleted.empty) && fault.Is(err, fault.NameUnknown):
		c.deleted = nil
	case !fault.Is(err, fault.AlreadyExists): // that may be for blobs that a push has promised
		c.wrong("in time: %t, is not restored: %v", inTime, err)
	}
}
