// Package promotion takes images from one repository of a tenant to another without copying
// bytes: with all platforms, and with what accompanies them (protocol section 15).
package promotion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/policy"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/internal/source"
)

const (
	// MaxManifests is how many manifests one promotion may have, companions included.
	MaxManifests = 1000
	// MaxReferences is how many layers and manifests these may name together.
	MaxReferences = 100_000
	// maxRounds bounds the attempts of one that content is deleted from meanwhile.
	maxRounds = 3
)

// Meta is the part of meta.Store that promotions need.
type Meta interface {
	source.Meta
	policy.StoredMeta
	meta.CachedAges
	PutManifest(ctx context.Context, p meta.ManifestPut) error
	AdoptBlobs(ctx context.Context, by meta.Cause, from []meta.Repo, to meta.Repo, blobs []oci.Digest) ([]oci.Digest, error)
	FindPush(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Push, error)
	ListPromotionGates(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.PromotionGate, error)
	FindHeld(ctx context.Context, from []meta.Repo, blobs []oci.Digest) ([]oci.Digest, error)
}

// Service promotes. It is safe for concurrent use.
type Service struct {
	meta    Meta
	sources source.Finder
	stored  policy.Stored
	trust   *policy.Trust
	budget  *respond.ByteBudget
}

// New makes a Service.
func New(m Meta, blobs blob.Opener, trust *policy.Trust) *Service {
	p := policy.NewStored(m, respond.Blobs{Store: blobs, Meta: m}, time.Now)
	return &Service{meta: m, sources: source.Finder{Meta: m, Blobs: blobs, Policy: p}, stored: p.Stored, trust: trust, budget: respond.NewByteBudget()}
}

// FindTag returns what a tag of a repository leads to; it asks no chain.
func (s *Service) FindTag(ctx context.Context, r meta.Repo, tag string) (oci.Digest, error) {
	m, err := s.meta.FindManifest(ctx, r, oci.Reference{Tag: tag})
	return m.Digest, err
}

// Request is an image or index to promote. The caller may pull From and promote to To, which
// are of one tenant.
type Request struct {
	From       meta.Repo
	Registry   string       // slug of From.Registry
	Chain      bool         // what the registry's chain has in the tenant's storage is promoted, too
	Caller     chain.Caller // of the chain
	Digest     oci.Digest
	To         meta.Repo
	ToRegistry string // slug of To.Registry
	Tag        string // that it gets; empty: none
	By         meta.Cause

	AllowMissingReferences bool // as the registry of To says
}

// source is From for the audit log.
func (r Request) source() string {
	return "registries/" + r.Registry + "/repositories/" + r.From.Name + "@" + r.Digest.String()
}

// copies reports whether the target may lack manifests of the source.
func (r Request) copies() bool { return r.From != r.To || r.Chain }

// Result is what was promoted, or would be.
type Result struct {
	Manifests  int          // all, the image and its companions included
	Companions int          // those that accompany another manifest, with what they are made of
	Unmet      []string     // what gates ask and the image does not have
	Missing    []oci.Digest // what it needs and the tenant does not have, sorted
}

// Promote promotes. With Cause.ValidateOnly it only says what is missing, and what refuses
// it. It is fault.NotPromotable while something is missing. One that ends early leaves
// content without the tag, which expires by itself, except for companion tags and what they
// accompany.
func (s *Service) Promote(ctx context.Context, r Request) (Result, error) {
	from := s.sources.Only(r.From)
	if r.Chain {
		inChain, err := s.sources.InChain(ctx, r.From, r.Registry, false, r.Caller)
		if err != nil {
			return Result{}, err
		}
		inChain.Repos = append([]meta.Repo{r.From}, inChain.Repos...)
		from = inChain
	}
	var result Result
	var err error
	for round := range maxRounds {
		var again bool
		if result, again, err = s.attempt(ctx, from, r, round); !again {
			return result, err
		}
	}
	return result, err
}

// attempt plans and promotes once. It reports whether the plan no longer held.
func (s *Service) attempt(ctx context.Context, from source.Sources, r Request, round int) (Result, bool, error) {
	p := planning{Service: s, from: from, request: r, seen: map[oci.Digest]bool{}}
	if err := p.plan(ctx); err != nil {
		return Result{}, false, err
	}
	if err := p.askGates(ctx); err != nil {
		return Result{}, false, err
	}
	result := Result{Manifests: len(p.manifests), Companions: p.companions, Missing: p.missing, Unmet: p.unmet}
	if err := s.check(ctx, p); err != nil || r.By.ValidateOnly {
		return result, false, err
	}
	if err := p.refusal(); err != nil {
		return result, false, err
	}
	leave, err := s.budget.Acquire(r.To.Tenant, int64(len(p.root.Payload)))
	if err != nil {
		return result, false, err
	}
	defer leave()
	p.running = true
	err = run{planning: &p, round: round}.promote(ctx)
	again := errors.As(err, new(*meta.Missing)) || fault.Is(err, fault.EtagMismatch) || fault.Is(err, fault.ManifestUnknown)
	if again {
		err = fault.Wrap(err, fault.Conflict, fault.NotPromotable, "what is promoted was deleted or moved meanwhile; try again")
	}
	return result, again, err
}

// check asks what decides about the tag before anything is copied: its transaction asks
// again. Companion tags have no rules.
func (s *Service) check(ctx context.Context, p planning) error {
	put := p.put(p.root, p.parsed)
	put.AllowMissingReferences, put.Tags, put.By.ValidateOnly = true, p.request.tags(), true
	return s.meta.PutManifest(ctx, put)
}

func (r Request) tags() []string {
	if r.Tag == "" {
		return nil
	}
	return []string{r.Tag}
}

// maxNamed is how many digests the message of a refusal names.
const maxNamed = 10

// refusal is the error while something is missing, or gates ask for more.
func (p *planning) refusal() error {
	switch {
	case len(p.missing) > 0:
		return p.missingContent()
	case len(p.unmet) > 1:
		return fault.New(fault.Conflict, fault.NotPromotable, "%s; and %d more, which validate_only lists", p.unmet[0], len(p.unmet)-1)
	case len(p.unmet) == 1:
		return fault.New(fault.Conflict, fault.NotPromotable, "%s", p.unmet[0])
	default:
		return nil
	}
}

func (p *planning) missingContent() error {
	more := ""
	if n := len(p.missing) - maxNamed; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	digests := make([]string, len(p.missing))
	for i, d := range p.missing {
		digests[i] = d.String()
	}
	return fault.New(fault.Conflict, fault.NotPromotable,
		"the repository does not have %s%s of the image; push it, or pull it through the registry so that it is cached, and try again", strings.Join(digests[:min(len(digests), maxNamed)], ", "), more).
		WithDetail(map[string]string{"digests": strings.Join(digests, ",")})
}

// run is one running promotion.
type run struct {
	*planning
	round int
}

// promote copies the manifests, provisionally, and then tags. The last transaction is that
// of the image's tag, in which all of them must be there, and from which on all stay.
func (u run) promote(ctx context.Context) error {
	if u.request.copies() {
		for _, d := range u.manifests {
			if err := u.copy(ctx, d); err != nil {
				return err
			}
		}
	}
	if err := u.companionTags(ctx); err != nil {
		return err
	}
	last := u.put(u.root, u.parsed)
	last.Tags, last.Requires, last.Gates = u.request.tags(), slices.Concat(u.manifests, u.kept), &u.gates
	return u.meta.PutManifest(ctx, last)
}

// copy puts one manifest provisionally, with its blobs. Where the target may lack
// references, it lacks those that no source holds, and no others.
func (u run) copy(ctx context.Context, d oci.Digest) error {
	return u.read(ctx, d, func(m meta.Manifest, parsed *oci.Manifest) error {
		put := u.put(m, parsed)
		put.By = u.step("copy " + d.String())
		put.Provisional, put.AllowMissingReferences = true, false
		push, _, err := u.findPush(ctx, d)
		if err != nil && !fault.Is(err, fault.ManifestUnknown) {
			return err
		}
		put.PushedBy = &push.Actor
		err = u.meta.PutManifest(ctx, put)
		var missing *meta.Missing
		if !errors.As(err, &missing) || len(missing.Children) > 0 && !u.request.AllowMissingReferences {
			return err
		}
		lacking := meta.Missing{Children: missing.Children}
		if lacking.Blobs, err = u.adopt(ctx, put, missing.Blobs); err != nil {
			return err
		}
		if err := lacking.Fault(); err != nil && !u.request.AllowMissingReferences {
			return err
		}
		put.AllowMissingReferences = lacking.Fault() != nil
		return u.meta.PutManifest(ctx, put)
	})
}

// adopt links the blobs that the target does not hold, and returns those that no source
// holds.
func (u run) adopt(ctx context.Context, put meta.ManifestPut, blobs []oci.Digest) ([]oci.Digest, error) {
	var lacking []oci.Digest
	for some := range slices.Chunk(blobs, meta.MaxAdopted) {
		if err := u.from.CheckCached(ctx, put.Repo.Tenant, some); err != nil {
			return nil, err
		}
		by := u.step("adopt " + put.Manifest.Digest.String() + some[0].String())
		missing, err := u.meta.AdoptBlobs(ctx, by, u.from.Repos, put.Repo, some)
		if err != nil {
			return nil, err
		}
		lacking = append(lacking, missing...)
	}
	return lacking, nil
}

// companionTags moves the tags that companions are found by. What they accompany has no tag
// yet, and stays from then on, so that what is left of an interrupted promotion is found
// with its subject.
func (u run) companionTags(ctx context.Context) error {
	if len(u.tags) == 0 {
		return nil
	}
	if u.request.copies() {
		untagged := u.put(u.root, u.parsed)
		untagged.By = u.step("untagged")
		untagged.Requires, untagged.Gates = slices.Clone(u.manifests), &u.gates
		if err := u.meta.PutManifest(ctx, untagged); err != nil {
			return err
		}
	}
	for _, tag := range u.tags {
		err := u.read(ctx, tag.digest, func(m meta.Manifest, parsed *oci.Manifest) error {
			put := u.put(m, parsed)
			put.By = u.step("tag " + tag.name)
			put.Tags, put.Replaces, put.Gates = []string{tag.name}, &tag.replaces, &u.gates
			return u.meta.PutManifest(ctx, put)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// put is the put of a manifest into the target.
func (p *planning) put(m meta.Manifest, parsed *oci.Manifest) meta.ManifestPut {
	by := p.request.By
	by.Changes = append(slices.Clip(by.Changes), meta.Change{Field: "source", New: p.request.source()})
	return meta.ManifestPut{
		Repo: p.request.To, Manifest: m, Parsed: parsed, By: by, Verb: meta.TagPromoted,
		AllowMissingReferences: p.request.AllowMissingReferences,
		PushedBy:               new(string), // copy says who, of what is not there yet
	}
}

// step is the cause of one step, which is an operation of its own.
func (u run) step(what string) meta.Cause {
	by := u.put(u.root, u.parsed).By
	by.Op = uuid.NewSHA1(by.Op, fmt.Appendf(nil, "promote %d %s", u.round, what))
	return by
}
