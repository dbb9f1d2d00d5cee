package sqlmeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// undelete is one running UndeleteManifest: a put of what the trash has. Children come
// before it and are provisional, so that an undelete that fails changes nothing that a
// client can list. Referrers follow. Each put decides all that it needs again.
type undelete struct {
	*Records
	put     func(context.Context, meta.ManifestPut) error
	follows oci.Digest // of a referrer: its subject, which may be deleted again meanwhile
}

// UndeleteManifest is meta.Trash's, by the store's PutManifest.
func (s *Records) UndeleteManifest(ctx context.Context, u meta.ManifestUndelete, put func(context.Context, meta.ManifestPut) error) error {
	if u.By.Op == uuid.Nil {
		return ErrNoOperation
	}
	return undelete{Records: s, put: put}.manifest(ctx, u)
}

func (s undelete) manifest(ctx context.Context, u meta.ManifestUndelete) error {
	r := u.Repo
	done, err := list(ctx, s.Records, r.Tenant, scanOne, FindEvent, r.Tenant, u.By.Op[:])
	if err != nil {
		return err
	}
	m, err := s.find(ctx, r, u.Digest)
	if fault.Is(err, fault.ManifestUnknown) && u.Seen == 0 || err == nil && len(done) > 0 {
		return s.resume(ctx, u, len(done) > 0, err)
	}
	if err != nil {
		return err
	}
	asked := u
	if u.Tags == nil {
		u.Tags = m.tags
	}
	if u.Seen == 0 {
		if _, taken, err := s.split(ctx, u); err != nil {
			return err
		} else if len(taken) > 0 {
			return meta.TagsTaken(taken)
		}
	}
	p := plan{seen: map[oci.Digest]bool{}}
	if err := s.plan(ctx, r, m, &p); err != nil {
		return err
	}
	if err := p.missing.Fault(); err != nil {
		if _, gone := s.find(ctx, r, u.Digest); gone != nil {
			return gone // with its repository
		}
		return err
	}
	if u.By.ValidateOnly {
		return s.putAgain(ctx, u, m, false)
	}
	err = s.restore(ctx, u, m, p)
	switch {
	case fault.Is(err, fault.ManifestUnknown) && u.Seen == 0: // it left the trash since it was read
		return s.resume(ctx, asked, false, err)
	case err != nil:
		return err
	}
	return s.referrers(ctx, u, m.op)
}

// restore puts the children, the manifest, and what is below the children, which its
// put does not keep, once more for good.
func (s undelete) restore(ctx context.Context, u meta.ManifestUndelete, m trashed, p plan) error {
	for _, child := range p.children {
		of := meta.ManifestUndelete{Repo: u.Repo, Digest: child.digest, By: u.By}
		of.By.Op = meta.UndeletionOp(u.By, child.digest)
		if err := s.putAgain(ctx, of, child, true); err != nil && !fault.Is(err, fault.ManifestUnknown) {
			return err // what was taken out of the trash meanwhile is there, or missed below
		}
	}
	if err := s.putAgain(ctx, u, m, false); err != nil {
		return err
	}
	for _, child := range p.children {
		of := meta.ManifestUndelete{Repo: u.Repo, Digest: child.digest, By: u.By}
		of.By.Op = meta.UndeletionOp(u.By, child.digest+" for good")
		if err := s.putAgain(ctx, of, child, false); err != nil && !fault.Is(err, fault.ManifestUnknown) {
			return err
		}
	}
	return nil
}

func (s undelete) find(ctx context.Context, r meta.Repo, d oci.Digest) (trashed, error) {
	m, err := find(ctx, s.Records, r.Tenant, meta.NotInTrash(d), scanForUndelete, findTrashed, r.Tenant, r.Registry, r.Name, d.Bytes())
	m.digest = d
	return m, err
}

func (s undelete) putAgain(ctx context.Context, u meta.ManifestUndelete, m trashed, provisional bool) error {
	parsed, err := oci.ParseManifest(m.mediaType, m.payload)
	if err != nil {
		return err
	}
	return s.put(ctx, meta.ManifestPut{
		Repo: u.Repo, Tags: u.Tags, By: u.By, Parsed: parsed, Undelete: true, Seen: u.Seen, Provisional: provisional, Verb: meta.TagUndeleted, Follows: s.follows,
		PushedBy:               new(string), // the trash does not know
		Manifest:               meta.Manifest{Digest: u.Digest, MediaType: m.mediaType, Payload: m.payload},
		AllowMissingReferences: true, // the trash has what it held
	})
}

// plan is what has to be restored before a manifest, the lowest level first.
type plan struct {
	children []trashed
	missing  meta.Missing
	seen     map[oci.Digest]bool
}

func (s undelete) plan(ctx context.Context, r meta.Repo, m trashed, p *plan) error {
	for _, d := range m.children {
		if p.seen[d] {
			continue
		}
		p.seen[d] = true
		child, live, err := s.child(ctx, r, d)
		switch {
		case fault.Is(err, fault.ManifestUnknown):
			p.missing.Children = append(p.missing.Children, d)
			continue
		case err != nil:
			return err
		case live:
			continue
		}
		if err := s.plan(ctx, r, child, p); err != nil {
			return err
		}
		p.children = append(p.children, child)
	}
	return nil
}

// child returns what the trash has of a manifest that is not live. One that leaves the
// trash between two reads is live then.
func (s undelete) child(ctx context.Context, r meta.Repo, d oci.Digest) (trashed, bool, error) {
	live, err := s.isLive(ctx, r, d)
	if err != nil || live {
		return trashed{}, live, err
	}
	m, err := s.find(ctx, r, d)
	if fault.Is(err, fault.ManifestUnknown) {
		if live, again := s.isLive(ctx, r, d); again != nil || live {
			return trashed{}, live, again
		}
	}
	return m, false, err
}

func (s undelete) isLive(ctx context.Context, r meta.Repo, d oci.Digest) (bool, error) {
	live, err := list(ctx, s.Records, r.Tenant, ScanDigest, isLive, r.Tenant, r.Registry, r.Name, d.Bytes())
	return len(live) > 0, err
}

// split returns those of the tags that are free, or the manifest's already, and the others.
func (s undelete) split(ctx context.Context, u meta.ManifestUndelete) ([]string, []string, error) {
	free, taken := []string{}, []string(nil)
	for _, tag := range u.Tags {
		at, err := s.tag(ctx, u.Repo, tag)
		if err != nil {
			return nil, nil, err
		}
		if at != "" && at != u.Digest {
			taken = append(taken, tag)
		} else {
			free = append(free, tag)
		}
	}
	return free, taken, nil
}

// resume continues an undelete that restored the manifest, under the tags that this one
// names, and ended before its referrers. The event of the delete says that it was the
// manifest's.
func (s undelete) resume(ctx context.Context, u meta.ManifestUndelete, done bool, missing error) error {
	r := u.Repo
	ops, err := list(ctx, s.Records, r.Tenant, scanOp, leftReferrers, r.Tenant, r.Registry, r.Name, u.Digest.Bytes(), "@"+u.Digest.String())
	if err != nil {
		return err
	}
	if done {
		missing = nil
	}
	if len(ops) == 0 {
		return missing
	}
	if !u.By.ValidateOnly {
		if err := s.referrers(ctx, u, ops[0]); err != nil {
			return err
		}
	}
	return s.tagged(ctx, u, missing)
}

// tagged returns missing unless the tags that the caller names lead to the manifest.
func (s undelete) tagged(ctx context.Context, u meta.ManifestUndelete, missing error) error {
	for _, tag := range u.Tags {
		at, err := s.tag(ctx, u.Repo, tag)
		if err != nil {
			return err
		}
		if at != u.Digest {
			return missing
		}
	}
	return nil
}

// tag returns what a tag points to; empty if it does not exist.
func (s undelete) tag(ctx context.Context, r meta.Repo, name string) (oci.Digest, error) {
	at, err := list(ctx, s.Records, r.Tenant, ScanDigest, tagOf, r.Tenant, r.Registry, r.Name, name)
	if err != nil || len(at) == 0 {
		return "", err
	}
	return at[0], nil
}

// referrersPage is how many referrers are read together.
const referrersPage = 100

// referrers restores those that were deleted with their subject. What fails stays in
// the trash, and can be restored by itself, or by repeating the undelete.
func (s undelete) referrers(ctx context.Context, u meta.ManifestUndelete, op uuid.UUID) error {
	r, after := u.Repo, []byte{0}
	s.follows = u.Digest
	for {
		page, err := list(ctx, s.Records, r.Tenant, ScanDigest, trashedReferrers, r.Tenant, r.Registry, r.Name, u.Digest.Bytes(), op[:], after, referrersPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, d := range page {
			if err := s.referrer(ctx, u, d); err != nil && !fault.Is(err, fault.ManifestUnknown) {
				return err
			}
		}
		after = page[len(page)-1].Bytes()
	}
}

func (s undelete) referrer(ctx context.Context, u meta.ManifestUndelete, d oci.Digest) error {
	m, err := s.find(ctx, u.Repo, d)
	if err != nil {
		return err
	}
	of := meta.ManifestUndelete{Repo: u.Repo, Digest: d, Tags: m.tags, By: u.By}
	of.By.Op = meta.UndeletionOp(u.By, d)
	if of.Tags, _, err = s.split(ctx, of); err != nil {
		return err
	}
	return s.manifest(ctx, of)
}
