package promotion

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/policy"
)

// gatesPage is how many gates are read together.
const gatesPage = 100

// askGates notes what the gates that are for the promotion ask and the image does not have.
func (p *planning) askGates(ctx context.Context) error {
	asked := meta.GateVersions{}
	for page := (meta.Page{Size: gatesPage}); ; {
		gates, err := p.meta.ListPromotionGates(ctx, p.request.To.Tenant, page)
		if err != nil {
			return err
		}
		for _, g := range gates {
			if g.Disabled {
				continue
			}
			asked = append(asked, meta.GateVersion{Slug: g.Slug, CreatedAt: g.CreatedAt, Version: g.Version})
			if g.Selects(p.request.ToRegistry, p.request.To.Name, p.request.Tag) {
				if err := p.askGate(ctx, g); err != nil {
					return err
				}
			}
		}
		if len(gates) < page.Size {
			p.gates = asked
			return nil
		}
		page.After = gates[len(gates)-1].Slug
	}
}

// askGate asks one gate.
func (p *planning) askGate(ctx context.Context, g meta.PromotionGate) error {
	lacks := func(format string, args ...any) {
		p.unmet = append(p.unmet, "gate "+g.Slug+": "+fmt.Sprintf(format, args...))
	}
	for _, lacking := range lackingNames(g.Annotations, p.parsed.Annotations) {
		lacks("the image needs the annotation %s", lacking)
	}
	if err := p.askLabels(ctx, g, lacks); err != nil {
		return err
	}
	for _, want := range g.ArtifactTypes {
		if !slices.Contains(p.types, want) {
			lacks("the image needs a referrer of the artifact type %s", want)
		}
	}
	if g.MinAge > 0 || g.AnotherCaller {
		if err := p.askPush(ctx, g, lacks); err != nil {
			return err
		}
	}
	return p.askSignature(ctx, g, lacks)
}

// askSignature asks for a signature by one of the keys or identities of a gate.
func (p *planning) askSignature(ctx context.Context, g meta.PromotionGate, lacks func(string, ...any)) error {
	by := p.trust.Signers(g.Keys, g.Identities, g.TrustedRoot)
	if by.None() {
		return nil
	}
	signatures, why, err := p.verify(ctx, by)
	if why != "" {
		lacks("%s", by.Lacking(why))
	}
	p.kept = append(p.kept, signatures...)
	return err
}

// lackingNames are those of the annotations, or labels, that are not there, in order.
func lackingNames(want, there map[string]string) []string {
	var lacking []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		switch has, found := there[key]; {
		case found && (want[key] == "" || has == want[key]):
		case want[key] == "":
			lacking = append(lacking, key)
		default:
			lacking = append(lacking, key+"="+want[key])
		}
	}
	return lacking
}

// askLabels asks about the config of each platform's image. What cannot be read since it is
// not there has no labels, and is missing besides.
func (p *planning) askLabels(ctx context.Context, g meta.PromotionGate, lacks func(string, ...any)) error {
	if len(g.Labels) == 0 {
		return nil
	}
	asked, unmet := 0, map[string]bool{}
	for _, config := range p.configs {
		labels, isImage, err := p.labels(ctx, config)
		if err != nil {
			return err
		}
		if !isImage {
			continue
		}
		asked++
		for _, lacking := range lackingNames(g.Labels, labels) {
			unmet[lacking] = true
		}
	}
	if asked == 0 {
		lacks("the image needs labels, and has no config with any")
	}
	for _, lacking := range slices.Sorted(maps.Keys(unmet)) {
		lacks("the image needs the label %s, on each platform", lacking)
	}
	return nil
}

// labels reads the labels of one image in the first source that has its config.
func (p *planning) labels(ctx context.Context, config oci.Descriptor) (map[string]string, bool, error) {
	for _, r := range p.from.Repos {
		labels, isImage, err := policy.ReadLabels(ctx, content{p.stored, p}, r, config)
		if err == nil || !policy.IsAbsent(err) {
			return labels, isImage, err
		}
	}
	return nil, true, nil
}

// askPush asks about how the image came into the source.
func (p *planning) askPush(ctx context.Context, g meta.PromotionGate, lacks func(string, ...any)) error {
	push, cached, err := p.findPush(ctx, p.request.Digest)
	if fault.Is(err, fault.ManifestUnknown) {
		lacks("the source has the image only below another one; push it there")
		return nil
	}
	if err != nil {
		return err
	}
	if left := g.MinAge - push.Now.Sub(push.At); left > 0 {
		lacks("the image has to be in the source for %s, until %s", g.MinAge, push.At.Add(g.MinAge).UTC().Format(time.RFC3339))
	}
	switch {
	case !g.AnotherCaller || cached:
	case push.Actor == "" || push.Actor == access.AnonymousActor:
		lacks("it is not known who pushed the image: this was before it was recorded, or anonymous, or the image is from a cache or the trash; delete and push it")
	case push.Actor == p.request.By.Actor:
		lacks("another caller than %s, who pushed the image, has to promote it", push.Actor)
	}
	return nil
}

// findPush finds how a manifest came into the first source that has it, and whether that is a
// cache.
func (p *planning) findPush(ctx context.Context, d oci.Digest) (meta.Push, bool, error) {
	for _, r := range p.from.Repos {
		push, err := p.meta.FindPush(ctx, r, d)
		if !fault.Is(err, fault.ManifestUnknown) {
			return push, p.from.Cached(r), err
		}
	}
	return meta.Push{}, false, fault.New(fault.NotFound, fault.ManifestUnknown, "manifest %s was deleted meanwhile", d)
}

// verify finds a signature by one of the signers in the sources, and returns the manifests that
// hold it, which have to be in the target with the tag. If it finds no evidence, the text says why.
func (p *planning) verify(ctx context.Context, by policy.Signers) ([]oci.Digest, string, error) {
	why := ""
	for _, r := range p.from.Repos {
		signatures, lacking, err := policy.VerifySigned(ctx, content{p.stored, p}, r, p.root, by)
		switch {
		case err != nil:
			return nil, "", err
		case lacking == "":
			return signatures, "", nil
		case why == "":
			why = lacking
		}
	}
	return nil, why, nil
}

// content is what the sources store, hosted and cached.
type content struct {
	policy.Stored
	planning *planning
}

// FindManifest implements policy.Content.
func (c content) FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error) {
	if ref.Digest == "" && c.planning.from.Cached(r) {
		return c.Stored.FindManifest(ctx, r, ref)
	}
	return policy.Hosted{Stored: c.Stored}.FindManifest(ctx, r, ref)
}
