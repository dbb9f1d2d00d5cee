package registry

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/source"
)

const (
	// maxAdopted is how many references one PUT may adopt, those of the manifests
	// that it adopts included.
	maxAdopted = 1000
	// maxDepth is how many levels of manifests below the manifest of the PUT.
	maxDepth = 3
	// maxRounds bounds the attempts of a put whose adopted references are missing
	// again, since they were deleted.
	maxRounds = 3
)

// mayAdopt reports whether content may be adopted from the storage of the
// registry's chain on behalf of the caller, as in a pull of the same name. As for a
// pull, the right to pull from the registry of the host decides, also for anonymous
// callers, and where the group does not delegate, the right to pull from the member
// (contract row C12). A rule about members must be here and in the walk of the proxy
// service.
func mayAdopt(c *front.Call) bool {
	return hasGroup(c) && c.Allowed(access.Repository(c.Route.Name, access.Pull)).Has(access.Pull)
}

// adoption is the PUT of one manifest into a registry with a chain. A client may
// not have pushed content that it found through the chain. So missing references
// are adopted if the tenant stores them: blobs are linked, and child manifests are
// put, the lowest first, before the unchanged PUT (protocol section 5). The client
// must push what only an upstream has.
type adoption struct {
	*Service
	registry  string // slug
	by        meta.Cause
	anonymous bool           // the caller is not logged in
	caller    chain.Caller   // where the group does not delegate
	from      source.Sources // the storage of the chain's members for the name
	seen      map[oci.Digest]bool
}

// put stores a manifest with its missing references, from at most depth levels
// below. If nothing is missing it is one PutManifest.
func (a *adoption) put(ctx context.Context, p meta.ManifestPut, depth int) error {
	all := p
	all.AllowMissingReferences = false // also adopt references that may be missing
	var err error
	for range maxRounds {
		err = a.meta.PutManifest(ctx, all)
		missing := missingFrom(err)
		if missing == nil {
			return err
		}
		lacking, failure := a.adopt(ctx, p, *missing, depth)
		switch {
		case failure != nil:
			return failure
		case lacking.Fault() == nil:
		case p.AllowMissingReferences:
			return a.meta.PutManifest(ctx, p)
		default:
			return lacking.Fault()
		}
	}
	return err
}

// missingFrom is what a PutManifest found missing; nil for other errors.
func missingFrom(err error) *meta.Missing {
	var missing *meta.Missing
	if !errors.As(err, &missing) {
		return nil
	}
	return missing
}

// adopt adopts the missing references of p and returns those that it cannot.
func (a *adoption) adopt(ctx context.Context, p meta.ManifestPut, missing meta.Missing, depth int) (meta.Missing, error) {
	if a.from.Repos == nil {
		var err error
		if a.from, err = a.sources.InChain(ctx, p.Repo, a.registry, a.anonymous, a.caller); err != nil {
			return meta.Missing{}, err
		}
	}
	for _, d := range missing.All() {
		a.seen[d] = true
	}
	if len(a.from.Repos) == 0 || len(a.seen) > maxAdopted {
		return missing, nil
	}
	var lacking meta.Missing
	for some := range slices.Chunk(missing.Blobs, meta.MaxAdopted) {
		if err := a.from.CheckCached(ctx, p.Repo.Tenant, some); err != nil {
			return lacking, err
		}
		others, err := a.meta.AdoptBlobs(ctx, a.cause(), a.from.Repos, p.Repo, some)
		if err != nil {
			return lacking, err
		}
		lacking.Blobs = append(lacking.Blobs, others...)
	}
	for _, d := range missing.Children {
		err := a.adoptChild(ctx, p, d, depth)
		below := missingFrom(err)
		switch {
		case below != nil:
			lacking.Blobs = append(lacking.Blobs, below.Blobs...)
			lacking.Children = append(lacking.Children, below.Children...)
		case err != nil:
			return lacking, err
		}
	}
	sortSet(&lacking.Blobs)
	sortSet(&lacking.Children)
	return lacking, nil
}

// adoptChild puts a manifest that p names, provisionally: it expires unless p is
// put.
func (a *adoption) adoptChild(ctx context.Context, p meta.ManifestPut, d oci.Digest, depth int) error {
	absent := (&meta.Missing{Children: []oci.Digest{d}}).Fault()
	if depth == 0 {
		return absent
	}
	m, err := a.from.Find(ctx, d)
	switch {
	case fault.Is(err, fault.ManifestUnknown):
		return absent
	case err != nil:
		return err
	}
	leave, err := a.budget.Acquire(p.Repo.Tenant, int64(len(m.Payload)))
	if err != nil {
		return err
	}
	defer leave()
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	if err != nil {
		return absent // a push of it would be refused
	}
	return a.put(ctx, meta.ManifestPut{
		Repo: p.Repo, Manifest: m, Parsed: parsed, By: a.cause(),
		AllowMissingReferences: p.AllowMissingReferences, Provisional: true,
		PushedBy: new(string), // the caller only names it
	}, depth-1)
}

// cause is the cause of one step: each step is a separate operation.
func (a *adoption) cause() meta.Cause {
	by := a.by
	by.Op = uuid.New()
	return by
}

func sortSet(digests *[]oci.Digest) {
	slices.Sort(*digests)
	*digests = slices.Compact(*digests)
}
