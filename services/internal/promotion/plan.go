package promotion

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/services/internal/source"
)

// planning is what a promotion copies, read before it begins.
type planning struct {
	*Service
	from    source.Sources
	request Request

	root       meta.Manifest // the image
	parsed     *oci.Manifest // of root
	manifests  []oci.Digest  // children before what names them
	companions int
	tags       []companionTag
	kept       []oci.Digest      // what must be there besides: what companion tags of the target lead to that are not moved, and signatures
	configs    []oci.Descriptor  // of the image, or of those in it
	types      []string          // artifact types of the image's referrers that are promoted
	gates      meta.GateVersions // that were asked
	unmet      []string          // what they ask and the image does not have
	missing    []oci.Digest
	seen       map[oci.Digest]bool // and whether it is among the manifests
	references int                 // of all manifests
	running    bool                // it is no longer only planned
}

// child is a manifest that an index names.
type child struct {
	digest   oci.Digest
	required bool
}

// companionTag is a tag that is moved in the target.
type companionTag struct {
	name             string
	digest, replaces oci.Digest
}

func (p *planning) plan(ctx context.Context) error {
	err := p.add(ctx, p.request.Digest, true, false)
	slices.Sort(p.missing)
	p.missing = slices.Compact(p.missing)
	return err
}

// add plans a manifest with what is below it and accompanies it.
func (p *planning) add(ctx context.Context, d oci.Digest, required, companion bool) error {
	if _, seen := p.seen[d]; seen {
		return nil
	}
	if len(p.seen) == MaxManifests {
		return fault.New(fault.Conflict, fault.NotPromotable, "the image has more than %d manifests, with what accompanies it", MaxManifests)
	}
	p.seen[d] = false
	var children []child // without what else the manifest says, which may be large
	var blobs []oci.Digest
	err := p.read(ctx, d, func(m meta.Manifest, parsed *oci.Manifest) error {
		if d == p.request.Digest {
			p.root, p.parsed = m, parsed
		}
		if p.references += len(parsed.Children) + len(parsed.Blobs); p.references > MaxReferences {
			return fault.New(fault.Conflict, fault.NotPromotable, "the image has more than %d references to layers and manifests, with what accompanies it", MaxReferences)
		}
		for _, d := range parsed.Children {
			children = append(children, child{d.Digest, p.needs(d)})
		}
		blobs = p.needed(parsed.Blobs)
		if c := parsed.Config; c != nil && !companion {
			p.configs = append(p.configs, oci.Descriptor{MediaType: c.MediaType, Digest: c.Digest, Size: c.Size})
		}
		return nil
	})
	switch {
	case fault.Is(err, fault.ManifestUnknown) && d != p.request.Digest:
		if required {
			p.missing = append(p.missing, d)
		}
		return nil
	case err != nil:
		return err
	}
	for _, child := range children {
		if err := p.add(ctx, child.digest, child.required, companion); err != nil {
			return err
		}
	}
	if err := p.findBlobs(ctx, blobs); err != nil {
		return err
	}
	p.manifests, p.seen[d] = append(p.manifests, d), true
	if companion {
		p.companions++
	}
	return p.accompany(ctx, d)
}

// needs reports whether a reference must be there, as at a push.
func (p *planning) needs(d oci.Descriptor) bool {
	return !d.Foreign() && !p.request.AllowMissingReferences
}

func (p *planning) needed(refs []oci.Descriptor) []oci.Digest {
	needed := map[oci.Digest]bool{}
	for _, d := range refs {
		if p.needs(d) {
			needed[d.Digest] = true
		}
	}
	return slices.Sorted(maps.Keys(needed))
}

// findBlobs notes those that neither source nor target has.
func (p *planning) findBlobs(ctx context.Context, blobs []oci.Digest) error {
	held, err := p.meta.FindHeld(ctx, append(slices.Clone(p.from.Repos), p.request.To), blobs)
	for _, d := range blobs {
		if _, there := slices.BinarySearch(held, d); !there {
			p.missing = append(p.missing, d)
		}
	}
	return err
}

// read reads a manifest from the source, or, once it may be copied, from the target.
func (p *planning) read(ctx context.Context, d oci.Digest, use func(meta.Manifest, *oci.Manifest) error) error {
	m, err := p.from.Find(ctx, d)
	if fault.Is(err, fault.ManifestUnknown) {
		if there, found := p.meta.FindManifest(ctx, p.request.To, oci.Reference{Digest: d}); p.running && found == nil {
			m, err = there, nil
		}
	}
	if err != nil {
		return err
	}
	leave, err := p.budget.Acquire(p.request.To.Tenant, int64(len(m.Payload)))
	if err != nil {
		return err
	}
	defer leave()
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	if err != nil {
		return err
	}
	return use(m, parsed)
}

// accompany plans the companions of a manifest: its referrers, and what the tags that are
// named by its digest lead to.
func (p *planning) accompany(ctx context.Context, d oci.Digest) error {
	for _, r := range p.from.Repos {
		if err := p.referrers(ctx, r, d); err != nil {
			return err
		}
	}
	for _, tag := range tagrule.Companions(d) {
		at, err := p.tagged(ctx, tag)
		if err != nil {
			return err
		}
		if at == "" {
			continue
		}
		if err := p.add(ctx, at, false, true); err != nil {
			return err
		}
		if err := p.move(ctx, tag, at); err != nil {
			return err
		}
	}
	return nil
}

// referrersPage is how many referrers are read together.
const referrersPage = 100

func (p *planning) referrers(ctx context.Context, r meta.Repo, d oci.Digest) error {
	for after := ""; ; {
		page, err := p.meta.ListReferrers(ctx, r, d, "", meta.Page{After: after, Size: referrersPage})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, one := range page {
			if err := p.add(ctx, one.Digest, false, true); err != nil {
				return err
			}
			if d == p.request.Digest && p.seen[one.Digest] {
				p.types = append(p.types, one.ArtifactType)
			}
		}
		after = page[len(page)-1].Digest.String()
	}
}

// tagged is what a tag leads to in the first source that has it; empty if none has.
func (p *planning) tagged(ctx context.Context, tag string) (oci.Digest, error) {
	for _, r := range p.from.Repos {
		var m meta.Manifest
		var err error
		if p.from.Cached(r) {
			var c meta.CachedTag
			c, err = p.meta.FindCachedTag(ctx, r, tag)
			m = c.Manifest
		} else {
			m, err = p.meta.FindManifest(ctx, r, oci.Reference{Tag: tag})
		}
		switch {
		case fault.Is(err, fault.ManifestUnknown), fault.Is(err, fault.NameUnknown):
		case err != nil:
			return "", err
		case m.Digest != "":
			return m.Digest, nil
		}
	}
	return "", nil
}

// move plans the move of a companion tag in the target. Where that has one of its own, with
// signatures for example, the tag leads to what has more; it is refused where each has what
// the other lacks.
func (p *planning) move(ctx context.Context, tag string, to oci.Digest) error {
	there, err := p.meta.FindManifest(ctx, p.request.To, oci.Reference{Tag: tag})
	switch {
	case fault.Is(err, fault.ManifestUnknown), fault.Is(err, fault.NameUnknown):
		p.tags = append(p.tags, companionTag{name: tag, digest: to})
		return nil
	case err != nil:
		return err
	case there.Digest == to:
		return nil
	}
	own, err := oci.ParseManifest(there.MediaType, there.Payload)
	if err != nil {
		return err
	}
	var promoted *oci.Manifest
	err = p.read(ctx, to, func(_ meta.Manifest, parsed *oci.Manifest) error { promoted = parsed; return nil })
	switch {
	case fault.Is(err, fault.ManifestUnknown):
		return nil // it was deleted since
	case err != nil:
		return err
	case includes(promoted, own):
		p.tags = append(p.tags, companionTag{name: tag, digest: to, replaces: there.Digest})
	case includes(own, promoted):
		p.kept = append(p.kept, there.Digest)
	default:
		return fault.New(fault.Conflict, fault.NotPromotable,
			"%s of the target has what that of the source lacks, and the other way round: bring them together, or delete one of them", tag)
	}
	return nil
}

// includes reports whether a has all layers and children of b, with the same annotations:
// the signatures of cosign are annotations of equal layers.
func includes(a, b *oci.Manifest) bool {
	parts := func(m *oci.Manifest) map[string]bool {
		all := map[string]bool{}
		refs := slices.Concat(m.Blobs, m.Children)
		if m.Config != nil {
			refs = refs[1:] // the config lists the layers
		}
		for _, d := range refs {
			part := []string{d.Digest.String()}
			for _, key := range slices.Sorted(maps.Keys(d.Annotations)) {
				part = append(part, fmt.Sprintf("%q=%q", key, d.Annotations[key]))
			}
			all[strings.Join(part, " ")] = true
		}
		return all
	}
	has := parts(a)
	for part := range parts(b) {
		if !has[part] {
			return false
		}
	}
	return true
}
