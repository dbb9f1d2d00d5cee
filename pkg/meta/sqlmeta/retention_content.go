package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
)

// What is read is of the active repository of a name. Manifests that expire are not looked
// at: the janitor ends them.
const (
	listContentManifests = `
SELECT m.digest, m.size, m.created_at, m.subject, p.pulled_at, coalesce(p.pulls, 0)
  FROM repositories r
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
  LEFT JOIN manifest_pulls p ON p.tenant_id = m.tenant_id AND p.repo_id = m.repo_id AND p.digest = m.digest
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND m.expire_at IS NULL`

	listContentChildren = `
SELECT c.parent, c.child
  FROM repositories r JOIN manifest_children c ON c.tenant_id = r.tenant_id AND c.repo_id = r.id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'`

	listContentBlobs = `
SELECT h.manifest, h.digest, b.size
  FROM repositories r
  JOIN manifest_blobs h ON h.tenant_id = r.tenant_id AND h.repo_id = r.id
  JOIN blobs b ON b.tenant_id = h.tenant_id AND b.digest = h.digest
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND h.held_repo_id IS NOT NULL`

	listContentUntagged = `
SELECT h.previous, max(h.at)
  FROM repositories r JOIN tag_history h ON h.tenant_id = r.tenant_id AND h.repo_id = r.id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND h.previous IS NOT NULL
 GROUP BY h.previous`

	listContentTags = `
SELECT t.name, t.manifest, p.pulled_at, coalesce(p.pulls, 0), h.at, t.version
  FROM repositories r
  JOIN tags t ON t.tenant_id = r.tenant_id AND t.repo_id = r.id
  LEFT JOIN tag_pulls p ON p.tenant_id = t.tenant_id AND p.repo_id = t.repo_id AND p.name = t.name
  LEFT JOIN tag_history h ON h.tenant_id = t.tenant_id AND h.repo_id = t.repo_id AND h.name = t.name AND h.version = t.version
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND t.manifest IS NOT NULL`
)

// contentReader reads the content of a repository, by several statements. Manifests come
// first and tags after them: what is pushed meanwhile is not there, rather than there
// without what leads to it. The history comes last: where a tag left a manifest before the
// tags were read, it says so. What else changes meanwhile is noticed by the deletion, in
// its own transaction (CheckBasis).
type contentReader struct {
	*Records
	repo    meta.Repo
	content retention.Content
	at      map[oci.Digest]int   // in content.Manifests
	blobs   map[oci.Digest]int32 // in content.BlobSizes
}

// RetentionContent implements meta.HostedPulls.
func (s *Records) RetentionContent(ctx context.Context, r meta.Repo) (retention.Content, error) {
	c := contentReader{Records: s, repo: r}
	for _, read := range []func(context.Context) error{c.manifests, c.children, c.sizes, c.tags, c.untagged} {
		if err := read(ctx); err != nil {
			return retention.Content{}, err
		}
	}
	if len(c.content.Manifests) > 0 {
		return c.content, nil
	}
	missing := fault.New(fault.NotFound, fault.NameUnknown, "repository %q is not known to this registry", r.Name)
	_, err := find(ctx, s, r.Tenant, missing, func(scan Scan) (int, error) { var one int; return one, scan(&one) },
		findActiveRepository, r.Tenant, r.Registry, r.Name)
	return c.content, err
}

// read calls each for the rows of a query about the repository.
func (c *contentReader) read(ctx context.Context, query string, begin func(), each func(Scan) error) error {
	return c.engine.Read(ctx, c.repo.Tenant, query, []any{c.repo.Tenant, c.repo.Registry, c.repo.Name}, begin, each)
}

func (c *contentReader) manifests(ctx context.Context) error {
	begin := func() { c.content.Manifests, c.at = nil, map[oci.Digest]int{} }
	return c.read(ctx, listContentManifests, begin, func(scan Scan) error {
		var m retention.Manifest
		if err := scan(digestScanner{&m.Digest}, &m.Size, timeScanner{&m.PushedAt}, digestScanner{&m.Subject}, timeScanner{&m.PulledAt}, &m.Pulls); err != nil {
			return err
		}
		c.at[m.Digest] = len(c.content.Manifests)
		c.content.Manifests = append(c.content.Manifests, m)
		return nil
	})
}

// of calls f with a manifest that was read.
func (c *contentReader) of(d oci.Digest, f func(m *retention.Manifest)) {
	if i, there := c.at[d]; there {
		f(&c.content.Manifests[i])
	}
}

func (c *contentReader) children(ctx context.Context) error {
	begin := func() {
		for i := range c.content.Manifests {
			c.content.Manifests[i].Children = nil
		}
	}
	return c.read(ctx, listContentChildren, begin, func(scan Scan) error {
		var parent, child oci.Digest
		if err := scan(digestScanner{&parent}, digestScanner{&child}); err != nil {
			return err
		}
		c.of(parent, func(m *retention.Manifest) {
			if i, there := c.at[child]; there {
				child = c.content.Manifests[i].Digest // one copy of the text
			}
			m.Children = append(m.Children, child)
		})
		return nil
	})
}

func (c *contentReader) sizes(ctx context.Context) error {
	begin := func() {
		c.content.BlobSizes, c.blobs = nil, map[oci.Digest]int32{}
		for i := range c.content.Manifests {
			c.content.Manifests[i].Blobs = nil
		}
	}
	return c.read(ctx, listContentBlobs, begin, func(scan Scan) error {
		var manifest, blob oci.Digest
		var size int64
		if err := scan(digestScanner{&manifest}, digestScanner{&blob}, &size); err != nil {
			return err
		}
		c.of(manifest, func(m *retention.Manifest) {
			i, known := c.blobs[blob]
			if !known {
				i = int32(len(c.content.BlobSizes))
				c.blobs[blob] = i
				c.content.BlobSizes = append(c.content.BlobSizes, size)
			}
			m.Blobs = append(m.Blobs, i)
		})
		return nil
	})
}

func (c *contentReader) untagged(ctx context.Context) error {
	return c.read(ctx, listContentUntagged, func() {}, func(scan Scan) error {
		var m retention.Manifest
		if err := scan(digestScanner{&m.Digest}, timeScanner{&m.UntaggedAt}); err != nil {
			return err
		}
		c.of(m.Digest, func(of *retention.Manifest) { of.UntaggedAt = m.UntaggedAt })
		return nil
	})
}

func (c *contentReader) tags(ctx context.Context) error {
	return c.read(ctx, listContentTags, func() { c.content.Tags = nil }, func(scan Scan) error {
		var t retention.Tag
		if err := scan(&t.Name, digestScanner{&t.Digest}, timeScanner{&t.PulledAt}, &t.Pulls, timeScanner{&t.MovedAt}, &t.Version); err != nil {
			return err
		}
		c.of(t.Digest, func(m *retention.Manifest) { t.Digest = m.Digest })
		c.content.Tags = append(c.content.Tags, t)
		return nil
	})
}
