package sqlitemeta

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
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
	blobs, children []oci.Digest // still to be linked
	required        map[oci.Digest]bool
}

// linkAhead makes the links of a manifest of many references in steps, so that
// PutManifest finds them made and holds the writer for a moment only. What is
// wrong with the manifest is left to PutManifest, which decides all of it again.
func (s *Store) linkAhead(ctx context.Context, p meta.ManifestPut) {
	if len(p.Parsed.Blobs)+len(p.Parsed.Children) <= aheadFrom {
		return
	}
	a := ahead{ManifestPut: p, required: map[oci.Digest]bool{}}
	a.blobs, a.children = a.named(p.Parsed.Blobs), a.named(p.Parsed.Children)
	if !s.complete(ctx, a) {
		return
	}
	for len(a.blobs)+len(a.children) > 0 {
		if err := s.step(ctx, p.Repo.Tenant, charged(p.Repo.Tenant, func(t *tx) (bool, error) { return false, a.step(t, s.life) })); err != nil {
			return
		}
	}
}

func (a ahead) named(list []oci.Descriptor) []oci.Digest {
	all := map[oci.Digest]bool{}
	for _, d := range list {
		all[d.Digest] = true
		a.required[d.Digest] = a.required[d.Digest] || !d.Foreign() && !a.AllowMissingReferences
	}
	return slices.Sorted(maps.Keys(all))
}

// complete says whether all is there that must be, on the read pool: a manifest
// that is refused changes nothing.
func (s *Store) complete(ctx context.Context, a ahead) bool {
	var repo int64
	err := s.step(ctx, a.Repo.Tenant, func(t *tx) error {
		r, err := t.repository(a.Repo, hosted)
		repo = r.id
		return err
	})
	if err != nil {
		return false
	}
	there := map[oci.Digest]bool{}
	read := func(scan scan) error {
		var d oci.Digest
		err := scan(digest{&d})
		there[d] = true
		return err
	}
	if err := s.list(ctx, heldReferences, []any{a.Repo.Tenant, repo, inJSON(a.blobs)}, read); err != nil {
		return false
	}
	err = s.list(ctx, presentChildren, []any{a.Repo.Tenant, repo, inJSON(a.children)}, func(scan scan) error {
		var expires bool
		return read(func(dest ...any) error { return scan(append(dest, &expires)...) })
	})
	if err != nil {
		return false
	}
	for d, required := range a.required {
		if required && !there[d] {
			return false
		}
	}
	return true
}

func (a *ahead) step(t *tx, life meta.Lifetimes) error {
	r, err := t.repository(a.Repo, hosted)
	if err != nil {
		return err
	}
	p := &put{tx: t, ManifestPut: a.ManifestPut, repo: r.id, own: a.Manifest.Digest.Bytes()}
	if _, err := p.manifest(t.after(life.Grace)); err != nil {
		return err
	}
	if err := p.sameType(); err != nil {
		return err
	}
	blobs, children := a.blobs, a.children
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
	a.blobs, a.children = blobs, children
	return nil
}

func (a *ahead) linkBlobs(p *put, batch []oci.Digest) error {
	present, err := p.held(a.Repo.Tenant, p.repo, batch)
	if err != nil {
		return err
	}
	held, lacking, err := a.split(batch, present)
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
	held, lacking, err := a.split(batch, present)
	if err != nil {
		return err
	}
	return p.linkChildren(held, lacking)
}

// split tells what is held of a batch from what is lacking and may be.
func (a *ahead) split(batch []oci.Digest, present map[oci.Digest]bool) ([]oci.Digest, []oci.Digest, error) {
	var held, lacking []oci.Digest
	for _, d := range batch {
		switch {
		case present[d]:
			held = append(held, d)
		case a.required[d]:
			return nil, nil, errLacking
		default:
			lacking = append(lacking, d)
		}
	}
	return held, lacking, nil
}
