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
)

const (
	// maxAdopted is how many references one PUT may adopt, those of the manifests
	// that it adopts included.
	maxAdopted = 1000
	// maxDepth is how many levels of manifests below the one that is put.
	maxDepth = 3
	// maxRounds is how often a manifest is put again whose references were adopted
	// and are missing again: they were deleted meanwhile.
	maxRounds = 3
)

// mayAdopt says whether what the registry does not hold may be taken from the
// storage of its chain on behalf of the caller: what a pull of the same name by
// the same caller would be answered from. As for such a pull, the right to pull
// from the registry that the host names is what counts, for anonymous callers,
// too; the members have no say of their own, since roles and anonymous rights
// are about all that a registry answers. A rule that is about a member belongs
// here and in the walk of the proxy service.
func mayAdopt(c *front.Call) bool {
	return hasGroup(c) && c.Allowed(access.Repository(c.Route.Name, access.Pull)).Has(access.Pull)
}

// adoption is the PUT of one manifest into a registry with a chain. A client may
// have left out what the chain answered when it asked what is there. So what the
// manifest names and the repository does not hold is taken over, where the tenant
// has it itself: blobs are linked, and the manifests below are put, the lowest
// first, before the unchanged PUT runs (protocol section 5). What only an upstream
// has is asked of the client.
type adoption struct {
	*Service
	registry  string // slug
	by        meta.Cause
	anonymous bool        // the caller is not logged in
	from      []meta.Repo // where the chain's members keep what they have of the name
	seen      map[oci.Digest]bool
}

// put stores a manifest with what it needs, from at most depth levels below. Where
// nothing is missing it is one PutManifest.
func (a *adoption) put(ctx context.Context, p meta.ManifestPut, depth int) error {
	all := p
	all.AllowMissingReferences = false // what may be missing is adopted, too, if it can be
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

// missingFrom is what a PutManifest found missing; nil if it ended otherwise.
func missingFrom(err error) *meta.Missing {
	var missing *meta.Missing
	if !errors.As(err, &missing) {
		return nil
	}
	return missing
}

// adopt takes over what p misses and returns what cannot be had.
func (a *adoption) adopt(ctx context.Context, p meta.ManifestPut, missing meta.Missing, depth int) (meta.Missing, error) {
	if a.from == nil {
		var err error
		if a.from, err = a.sources(ctx, p.Repo); err != nil {
			return meta.Missing{}, err
		}
	}
	for _, d := range missing.All() {
		a.seen[d] = true
	}
	if len(a.from) == 0 || len(a.seen) > maxAdopted {
		return missing, nil
	}
	var lacking meta.Missing
	for some := range slices.Chunk(missing.Blobs, meta.MaxAdopted) {
		others, err := a.meta.AdoptBlobs(ctx, a.cause(), a.from, p.Repo, some)
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

// adoptChild puts a manifest that p names, provisionally: it goes again if p does
// not come.
func (a *adoption) adoptChild(ctx context.Context, p meta.ManifestPut, d oci.Digest, depth int) error {
	absent := (&meta.Missing{Children: []oci.Digest{d}}).Fault()
	if depth == 0 {
		return absent
	}
	m, err := a.meta.FindAdoptable(ctx, a.from, d)
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
		return absent // no push of it would be taken
	}
	return a.put(ctx, meta.ManifestPut{
		Repo: p.Repo, Manifest: m, Parsed: parsed, By: a.cause(),
		AllowMissingReferences: p.AllowMissingReferences, Provisional: true,
	}, depth-1)
}

// cause is that of one step: each is an operation of its own.
func (a *adoption) cause() meta.Cause {
	by := a.by
	by.Op = uuid.New()
	return by
}

// sources are the repositories that answer for the name from the tenant's own
// storage. They are read again, and not remembered: what a chain came to a moment
// ago must not decide what is stored for good. The registry's own claim does not
// count, it is made by the very push; that of another member stands.
func (a *adoption) sources(ctx context.Context, r meta.Repo) ([]meta.Repo, error) {
	topology, err := a.meta.FindTopology(ctx, r.Tenant)
	if err != nil {
		return nil, err
	}
	found := []meta.Repo{}
	c, err := chain.Of(topology, a.registry)
	if err != nil {
		return found, nil //nolint:nilerr // a chain that cannot be followed answers nothing
	}
	storages := c.Storages(r.Name)
	claimed := false
	if slices.ContainsFunc(storages, func(s chain.Storage) bool { return s.Unclaimed }) {
		if claimed, err = a.meta.ClaimedBy(ctx, r.Tenant, c.Registries[1:], r.Name); err != nil {
			return nil, err
		}
	}
	for _, s := range storages {
		if (!s.Unclaimed || !claimed) && (!s.Withheld || !a.anonymous) {
			found = append(found, meta.Repo{Tenant: r.Tenant, Registry: s.Registry, Name: s.Name})
		}
	}
	return found, nil
}

func sortSet(digests *[]oci.Digest) {
	slices.Sort(*digests)
	*digests = slices.Compact(*digests)
}
