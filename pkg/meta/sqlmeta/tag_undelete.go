package sqlmeta

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// isPermanent finds a manifest that is there and does not expire.
const isPermanent = isLive + ` AND m.expire_at IS NULL`

// tagAttempts is how often an undelete of a tag begins again, as the tag or its manifest
// changed since they were read.
const tagAttempts = 10

// UndeleteTag is meta.TagHistory's, by the store's PutManifest for a manifest in the
// trash, and by its moveTag for one that is there.
func (s *Records) UndeleteTag(ctx context.Context, u meta.TagUndelete, put func(context.Context, meta.ManifestPut) error, move func(context.Context, meta.TagMove) error) (oci.Digest, error) {
	if u.By.Op == uuid.Nil {
		return "", ErrNoOperation
	}
	var d oci.Digest
	var err error
	for range tagAttempts {
		d, err = s.undeleteTag(ctx, u, put, move)
		if !errors.Is(err, meta.ErrTagChanged) {
			break
		}
	}
	return d, err
}

func (s *Records) undeleteTag(ctx context.Context, u meta.TagUndelete, put func(context.Context, meta.ManifestPut) error, move func(context.Context, meta.TagMove) error) (oci.Digest, error) {
	r := u.Repo
	done, err := list(ctx, s, r.Tenant, scanOne, FindEvent, r.Tenant, u.By.Op[:])
	if err != nil {
		return "", err
	}
	changes, err := s.ListTagHistory(ctx, r, u.Tag, meta.Page{Size: meta.MaxTagChanges})
	if err != nil {
		return "", err
	}
	if len(done) > 0 && len(changes) > 0 {
		return changes[0].Digest, nil
	}
	d, err := u.Target(changes)
	if err != nil || d == changes[0].Digest {
		return d, err
	}
	seen := changes[0].Version
	u.By.Changes = []meta.Change{{Field: "tag " + u.Tag, Old: changes[0].Digest.String(), New: d.String()}}
	live, err := s.isPermanent(ctx, r, d)
	switch {
	case err != nil:
		return d, err
	case live:
		err = move(ctx, meta.TagMove{Repo: r, Tag: u.Tag, Digest: d, Seen: seen, By: u.By})
		if fault.Is(err, fault.ManifestUnknown) {
			err = meta.TagChangedSince(u.Tag) // deleted since: it may be in the trash
		}
		return d, err
	}
	err = undelete{Records: s, put: put}.manifest(ctx, meta.ManifestUndelete{Repo: r, Digest: d, Tags: []string{u.Tag}, Seen: seen, By: u.By})
	if !fault.Is(err, fault.ManifestUnknown) {
		return d, err
	}
	live, err = s.isPermanent(ctx, r, d)
	switch {
	case err != nil:
		return d, err
	case live:
		return d, meta.TagChangedSince(u.Tag) // pushed or restored since
	default:
		return d, meta.GoneForGood(u.Tag, d)
	}
}

func (s *Records) isPermanent(ctx context.Context, r meta.Repo, d oci.Digest) (bool, error) {
	live, err := list(ctx, s, r.Tenant, ScanDigest, isPermanent, r.Tenant, r.Registry, r.Name, d.Bytes())
	return len(live) > 0, err
}
