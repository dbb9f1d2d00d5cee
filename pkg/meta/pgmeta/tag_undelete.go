package pgmeta

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// UndeleteTag implements meta.TagHistory.
func (s *Store) UndeleteTag(ctx context.Context, u meta.TagUndelete) (oci.Digest, error) {
	return s.Records.UndeleteTag(ctx, u, s.PutManifest, s.moveTag)
}

// moveTag moves a tag to a manifest that is there: the part of a put that is about tags,
// with the same locks.
func (s *Store) moveTag(ctx context.Context, m meta.TagMove) error {
	p := meta.ManifestPut{
		Repo: m.Repo, Manifest: meta.Manifest{Digest: m.Digest}, Parsed: &oci.Manifest{}, Tags: []string{m.Tag},
		By: m.By, Verb: meta.TagUndeleted, Seen: m.Seen,
	}
	return s.write(ctx, m.Repo.Tenant, func(t *tx) error {
		put := newPut(t, p, p.Tags)
		if err := put.lockMove(); err != nil {
			return err
		}
		switch {
		case !put.repo.isHosted():
			return nameUnknown(m.Repo)
		case put.recorded == 0:
			return sqlmeta.ErrAlreadyDone
		case len(put.old) < len(p.Tags):
			return sqlmeta.ErrRestart // deleted between the insert and the lock
		}
		if err := put.decideMove(); err != nil {
			return err
		}
		if m.By.ValidateOnly {
			return sqlmeta.ErrAlreadyDone
		}
		put.changeEvent()
		put.moveTags()
		if t.grew {
			t.withinQuota(m.Repo.Tenant, false)
		}
		return nil
	})
}

// lockMove is the first batch.
func (p *putting) lockMove() error {
	p.reset()
	var made int64
	t, g, n := p.Repo.Tenant, p.Repo.Registry, p.Repo.Name
	p.repo = p.lockRepository(p.Repo)
	if err := p.repositoryEvent(p.By, p.Repo, "tag.undelete", suffix(p.tags, p.Manifest.Digest), &p.recorded); err != nil {
		return err
	}
	p.lockTags(&made)
	p.queue(lockManifestsBefore, t, g, n, p.own, nil, p.tags).Query(each(p.remember))
	p.queue(lockManifestsFrom, t, g, n, p.own, nil, p.tags).Query(each(p.remember))
	err := p.flush()
	p.grew = p.grew || made > 0
	return err
}

// decideMove returns the error of the move, if any.
func (p *putting) decideMove() error {
	if err := p.refuseChanged(); err != nil {
		return err
	}
	d := p.Manifest.Digest
	if _, there := p.present[d]; !there || slices.Contains(p.expiring, d) {
		return manifestUnknown(d.String())
	}
	return p.refuseOverwrite()
}
