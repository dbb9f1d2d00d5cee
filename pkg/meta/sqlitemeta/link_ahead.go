package sqlitemeta

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// Manifests of more references than aheadFrom are linked in steps, each of
// aheadBatch references at least.
const (
	aheadFrom  = 500
	aheadBatch = 200
)

var errLacking = errors.New("sqlitemeta: a reference is missing")

// ahead is a manifest of many references whose links are made before it is put.
// Until then it is provisional: it has no tag, and expires if the put fails.
type ahead struct {
	meta.ManifestPut
	kind            kind          // of its repository
	keep            time.Duration // for which its row is there if it is not put
	blobs, children named         // still to be linked
	repo            int64
	expireAt        int64 // of its row, where it was not there before; else 0
}

// named are blobs, or manifests, that a manifest names.
type named struct {
	digests  []oci.Digest
	required map[oci.Digest]bool // each of them, and whether it must be there
}

// putInSteps makes the links of a manifest of many references in steps, so that
// putManifest finds them made and holds the writer for a moment only. What lacks
// references is refused before anything is written, and what has no room before
// anything is linked. The rest of what may be wrong putManifest decides. The row can
// be read from the first step on: the put continues without its client then, to its
// event, or to the removal of the row.
func (s *Store) putInSteps(ctx context.Context, p meta.ManifestPut) error {
	a := ahead{ManifestPut: p, kind: hosted, keep: s.life.Grace}
	a.blobs, a.children = a.named(p.Parsed.Blobs), a.named(p.Parsed.Children)
	ready, err := s.complete(ctx, a)
	if err != nil {
		return err
	}
	if ready {
		err = s.linkInSteps(ctx, &a)
	}
	if a.expireAt != 0 {
		ctx = context.WithoutCancel(ctx)
	}
	if err == nil {
		err = s.putManifest(ctx, p)
	}
	if err != nil && a.expireAt != 0 && !errors.Is(err, errGoing) {
		s.takeBack(ctx, a)
	}
	return err
}

const isAhead = `SELECT 1 FROM manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3 AND expire_at = ?4`

// takeBack removes the row of a manifest that was refused after it was begun, unless
// another put has made it stay or prolonged it. Where it fails the row expires.
func (s *Store) takeBack(ctx context.Context, a ahead) {
	r := removal{tenant: a.Repo.Tenant, repo: a.repo, digest: a.Manifest.Digest}
	err := s.step(ctx, r.tenant, func(t *tx) error {
		found, err := t.find(isAhead, []any{r.tenant, r.repo, r.digest.Bytes(), a.expireAt}, new(int))
		if err != nil || !found {
			return err
		}
		if large, err := t.beginRemoval(r); err != nil || large {
			return err
		}
		if _, err := t.deleteManifest(r, s.life); err != nil {
			return err
		}
		_, err = t.exec(hideRepository, r.tenant, r.repo)
		return err
	})
	if err == nil {
		_ = s.finishRemoval(ctx, r) // what is left of it the janitor does
	}
}

// linkFetchedAhead makes the links of what an upstream gave.
func (s *Store) linkFetchedAhead(ctx context.Context, p meta.ManifestPut, keep time.Duration) error {
	if len(p.Parsed.Blobs)+len(p.Parsed.Children) <= aheadFrom {
		return nil
	}
	a := ahead{ManifestPut: p, kind: cached, keep: keep}
	a.blobs, a.children = a.named(p.Parsed.Blobs), a.named(p.Parsed.Children)
	return s.linkInSteps(ctx, &a)
}

func (s *Store) linkInSteps(ctx context.Context, a *ahead) error {
	begun := false
	for len(a.blobs.digests)+len(a.children.digests) > 0 {
		err := s.step(ctx, a.Repo.Tenant, charged(a.Repo.Tenant, new(bool), func(t *tx) (bool, error) {
			if !begun {
				_, err := a.begin(t)
				return a.kind == cached, err
			}
			return a.kind == cached, a.step(t)
		}))
		switch {
		case errors.Is(err, errLacking):
			return nil // it went meanwhile: PutManifest names all that is missing
		case err != nil:
			return err
		}
		begun, ctx = true, context.WithoutCancel(ctx)
	}
	return nil
}

func (a ahead) named(list []oci.Descriptor) named {
	required := map[oci.Digest]bool{}
	for _, d := range list {
		required[d.Digest] = required[d.Digest] || !d.Foreign() && !a.AllowMissingReferences
	}
	return named{slices.Sorted(maps.Keys(required)), required}
}

// complete says, from the read pool, whether there is something to link: not for
// a request that was committed before, nor in a repository that is not there yet.
// What must be there and is not refuses the manifest.
func (s *Store) complete(ctx context.Context, a ahead) (bool, error) {
	var one int
	if done, err := s.find(ctx, sqlmeta.FindEvent, []any{a.Repo.Tenant, a.By.Op[:]}, &one); err != nil || done {
		return false, err
	}
	var r repository
	found, err := s.find(ctx, activeRepository, []any{a.Repo.Tenant, a.Repo.Registry, a.Repo.Name}, &r.id, &r.target, &r.upstream)
	if err != nil || !found || r.cached() {
		return false, err
	}
	there := map[oci.Digest]bool{}
	read := func(more ...any) func(scan) error {
		return func(scan scan) error {
			var d oci.Digest
			err := scan(append([]any{digestScanner{&d}}, more...)...)
			there[d] = true
			return err
		}
	}
	var ignored, also bool
	if err := s.list(ctx, heldReferences, []any{a.Repo.Tenant, r.id, inJSON(a.blobs.digests), a.Undelete}, read(&ignored)); err != nil {
		return false, err
	}
	missing := meta.Missing{Blobs: a.blobs.lacking(there)}
	clear(there)
	err = s.list(ctx, presentChildren, []any{a.Repo.Tenant, r.id, inJSON(a.children.digests)}, read(&ignored, &also))
	if err != nil {
		return false, err
	}
	missing.Children = a.children.lacking(there)
	return true, missing.Fault()
}

// lacking are those that must be there and are not.
func (n named) lacking(there map[oci.Digest]bool) []oci.Digest {
	var lacking []oci.Digest
	for _, d := range n.digests {
		if n.required[d] && !there[d] {
			lacking = append(lacking, d)
		}
	}
	return lacking
}

// begin stores the manifest's row, which is charged for all references.
func (a *ahead) begin(t *tx) (*put, error) {
	find := t.repository
	if a.kind == cached {
		find = t.ensureRepository
	}
	r, err := find(a.Repo, a.kind)
	if err != nil {
		return nil, err
	}
	if err := t.refuseGoing(a.Repo.Tenant, r.id, a.Manifest.Digest); err != nil {
		return nil, err
	}
	p := &put{tx: t, ManifestPut: a.ManifestPut, repo: r.id, own: a.Manifest.Digest.Bytes()}
	isNew, err := p.manifest(t.after(a.keep))
	if err != nil {
		return nil, err
	}
	if isNew {
		a.repo, a.expireAt = r.id, t.after(a.keep)
	}
	if a.kind == cached {
		return p, nil
	}
	return p, p.sameType()
}

func (a *ahead) step(t *tx) error {
	p, err := a.begin(t)
	if err != nil {
		return err
	}
	blobs, children := a.blobs.digests, a.children.digests
	for len(blobs)+len(children) > 0 {
		of := &blobs
		if len(blobs) == 0 {
			of = &children
		}
		batch := (*of)[:min(aheadBatch, len(*of))]
		*of = (*of)[len(batch):]
		if of == &blobs {
			err = a.linkBlobs(p, batch)
		} else {
			err = a.linkChildren(p, batch)
		}
		if err != nil {
			return err
		}
		if t.spent() {
			break
		}
	}
	a.blobs.digests, a.children.digests = blobs, children
	return nil
}

func (a *ahead) linkBlobs(p *put, batch []oci.Digest) error {
	if a.kind == cached {
		return p.link(nil, batch) // nothing of what it names is held
	}
	present, err := p.revived(batch)
	if err != nil {
		return err
	}
	held, lacking, err := a.blobs.split(batch, present)
	if err != nil {
		return err
	}
	return p.link(held, lacking)
}

func (a *ahead) linkChildren(p *put, batch []oci.Digest) error {
	present, err := p.presentChildren(batch)
	if err != nil {
		return err
	}
	held, lacking, err := a.children.split(batch, present)
	if err != nil {
		return err
	}
	return p.linkChildren(held, lacking)
}

// split tells what is held of a batch from what is lacking and may be.
func (n named) split(batch []oci.Digest, present map[oci.Digest]bool) ([]oci.Digest, []oci.Digest, error) {
	var held, lacking []oci.Digest
	for _, d := range batch {
		switch {
		case present[d]:
			held = append(held, d)
		case n.required[d]:
			return nil, nil, errLacking
		default:
			lacking = append(lacking, d)
		}
	}
	return held, lacking, nil
}
