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
	manifests map[oci.Digest]modelManifest
	tags      map[string]oci.Digest
	trashed   map[oci.Digest]clientTrash
}

func newBooks() books {
	return books{map[oci.Digest]modelManifest{}, map[string]oci.Digest{}, map[oci.Digest]clientTrash{}}
}

// deletedBooks are those of the repository that was deleted last, and the time before.
type deletedBooks struct {
	books
	from time.Time
}

// clientTrash is a manifest that a client deleted, and the time before it did.
type clientTrash struct {
	modelManifest
	tags []string
	from time.Time
}

// live notes manifests that are there.
func (c *client) live(d oci.Digest, one modelManifest) {
	c.manifests[d] = one
	delete(c.trashed, d)
}

// gone notes a manifest that is deleted.
func (c *client) gone(d oci.Digest, from time.Time) {
	kept := clientTrash{modelManifest: c.manifests[d], from: from}
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
	taken := slices.ContainsFunc(tags, func(tag string) bool { return c.tags[tag] != "" })
	all, from, whole := c.needs(d)
	c.anywhere()
	err := c.undelete(c.repo, d)
	inTime := time.Since(from) < Hasty.Undelete
	switch {
	case err == nil && (taken || !whole):
		c.wrong("%s is restored; tags %s taken: %t, with all children: %t", d, tags, taken, whole)
	case err == nil:
		for _, restored := range all {
			c.live(restored, c.trashed[restored].modelManifest)
		}
		for _, tag := range tags {
			c.tags[tag] = d
		}
	case inTime && !taken && whole,
		!fault.Is(err, fault.ManifestUnknown) && !fault.Is(err, fault.ManifestBlobUnknown) && !fault.Is(err, fault.AlreadyExists):
		c.wrong("%s, in time: %t, is not restored: %v", d, inTime, err)
	case !inTime:
		delete(c.trashed, d)
		for _, child := range all { // some may have come back for a while
			for _, content := range c.trashed[child].contents {
				c.unsure[content] = true
			}
		}
	}
}

// repositoryGone notes that the repository is deleted. One without manifests can be
// restored only if the janitor had left some of its trash.
func (c *client) repositoryGone(from time.Time) {
	c.deleted = nil
	if len(c.manifests) > 0 {
		c.deleted = &deletedBooks{c.books, from}
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
	case err == nil && len(c.manifests) > 0:
		c.wrong("with %d manifests, is replaced by a deleted one", len(c.manifests))
	case err == nil:
		c.books, c.deleted = c.deleted.books, nil
	case !inTime && fault.Is(err, fault.NameUnknown):
		c.deleted = nil
	case !fault.Is(err, fault.AlreadyExists): // that may be for blobs that a push has promised
		c.wrong("in time: %t, is not restored: %v", inTime, err)
	}
}
