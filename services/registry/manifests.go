package registry

import (
	"context"
	"io"
	"slices"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/pullrules"
)

// GetManifestRequest asks for a manifest by tag or digest.
type GetManifestRequest struct {
	Repo      meta.Repo
	Reference oci.Reference
	Registry  string // slug
	PullRules int64  // version of the tenant's pull rules
}

// GetManifest returns the manifest byte for byte as it was pushed, with the
// media type of its first push (contract row D1).
func (s *Service) GetManifest(ctx context.Context, req GetManifestRequest) (meta.Manifest, error) {
	m, err := s.meta.FindManifest(ctx, req.Repo, req.Reference)
	if err != nil {
		return m, markNotHosted(err)
	}
	if req.PullRules != 0 {
		err = s.rules.Check(ctx,
			pullrules.Pull{Rules: req.PullRules, Repo: req.Repo, Registry: req.Registry, Tag: req.Reference.Tag},
			pullrules.Answer{Registry: req.Registry, Repo: req.Repo, Manifest: m})
		if err != nil {
			return meta.Manifest{}, err
		}
	}
	s.pulls.Add(req.Repo, req.Reference, m.Digest)
	return m, nil
}

// PutManifestRequest is a manifest to store.
type PutManifestRequest struct {
	Repo                   meta.Repo
	Reference              oci.Reference
	Tags                   []string // besides that of Reference
	ContentType            string
	Body                   io.Reader    // read only after the rights are checked
	Length                 int64        // of Body as declared; -1 if not declared
	AllowMissingReferences bool         // the registry takes manifests whose references it does not hold
	AdoptFor               string       // slug of the registry whose chain missing references are adopted from; empty: none
	Caller                 chain.Caller // of AdoptFor
	By                     meta.Cause
}

// PutManifestResponse is the result of PutManifest.
type PutManifestResponse struct {
	Repo    meta.Repo
	Digest  oci.Digest
	Tags    []string   // those of PutManifestRequest.Tags
	Subject oci.Digest // empty without one
}

// PutManifest stores a manifest under its digest and tags. By digest, the body must
// have that digest, of either algorithm; by tag alone it is addressed by SHA-256
// (distribution-spec, "Pushing Manifests").
func (s *Service) PutManifest(ctx context.Context, req PutManifestRequest) (PutManifestResponse, error) {
	payload, leave, err := s.budget.Receive(ctx, req.Repo.Tenant, req.Body, req.Length)
	if err != nil {
		return PutManifestResponse{}, err
	}
	defer leave()
	parsed, err := oci.ParseManifest(req.ContentType, payload)
	if err != nil {
		return PutManifestResponse{}, err
	}
	digest := oci.DigestOf(oci.SHA256, payload)
	tags := req.Tags
	if want := req.Reference.Digest; want != "" {
		digest = oci.DigestOf(want.Algorithm(), payload)
		if digest != want {
			return PutManifestResponse{}, fault.New(fault.Invalid, fault.DigestInvalid, "the manifest has the digest %s", digest)
		}
	} else if !slices.Contains(tags, req.Reference.Tag) {
		tags = append([]string{req.Reference.Tag}, tags...)
	}
	err = s.store(ctx, req, meta.ManifestPut{
		Repo:                   req.Repo,
		Manifest:               meta.Manifest{Digest: digest, MediaType: parsed.MediaType, Payload: payload},
		Parsed:                 parsed,
		Tags:                   tags,
		By:                     req.By,
		AllowMissingReferences: req.AllowMissingReferences,
	})
	if err != nil {
		return PutManifestResponse{}, err
	}
	stored := PutManifestResponse{Repo: req.Repo, Digest: digest, Tags: req.Tags}
	if parsed.Subject != nil {
		stored.Subject = parsed.Subject.Digest
	}
	return stored, nil
}

// store puts a manifest, with references adopted from the registry's chain.
func (s *Service) store(ctx context.Context, req PutManifestRequest, p meta.ManifestPut) error {
	if req.AdoptFor == "" {
		return s.meta.PutManifest(ctx, p)
	}
	a := adoption{
		Service: s, registry: req.AdoptFor, by: p.By, anonymous: p.By.Actor == access.AnonymousActor, caller: req.Caller,
		seen: map[oci.Digest]bool{},
	}
	return a.put(ctx, p, maxDepth)
}

// DeleteManifestRequest names a manifest to delete.
type DeleteManifestRequest = meta.ManifestDelete

// DeleteManifest deletes the manifest and the tags that point to it.
func (s *Service) DeleteManifest(ctx context.Context, req DeleteManifestRequest) (kit.Empty, error) {
	return kit.Empty{}, s.meta.DeleteManifest(ctx, req)
}

// DeleteTagRequest names a tag to delete.
type DeleteTagRequest struct {
	Repo meta.Repo
	Tag  string
	By   meta.Cause
}

// DeleteTag deletes the tag; the manifest stays.
func (s *Service) DeleteTag(ctx context.Context, req DeleteTagRequest) (kit.Empty, error) {
	return kit.Empty{}, s.meta.DeleteTag(ctx, req.By, req.Repo, req.Tag)
}
