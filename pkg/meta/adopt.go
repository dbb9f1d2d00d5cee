package meta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// MaxAdopted is how many blobs one AdoptBlobs may take, so that its transaction
// stays short.
const MaxAdopted = 100

// Adopter links content of the tenant's other repositories, hosted or cached,
// before a manifest that names it is put (protocol section 5). The caller checks
// that they may answer for the target's name. A repository that is missing, or
// whose registry was deleted or replaced, holds nothing.
type Adopter interface {
	// AdoptBlobs links each blob that one of the from repositories holds into to, as
	// MountBlob would, with one event per blob. It returns the other blobs; suspect
	// blobs count as missing. Nothing is charged: the tenant has the bytes already.
	// More than MaxAdopted blobs are refused.
	AdoptBlobs(ctx context.Context, by Cause, from []Repo, to Repo, blobs []oci.Digest) (missing []oci.Digest, err error)
	// FindNeverHosted returns those of the blobs that no hosted repository of the tenant
	// has ever linked, without suspect ones. After a restore of the metadata their
	// bytes may be missing: the caller checks them before AdoptBlobs.
	FindNeverHosted(ctx context.Context, t tenant.ID, blobs []oci.Digest) ([]Blob, error)
	// FindHeld returns those of the blobs that one of the repositories holds, without
	// suspect ones, in order: what AdoptBlobs would link. All are of one tenant.
	FindHeld(ctx context.Context, from []Repo, blobs []oci.Digest) ([]oci.Digest, error)
	// FindPush finds when, and by whom, a manifest came into a repository, where it is not
	// provisional.
	FindPush(ctx context.Context, r Repo, d oci.Digest) (Push, error)
	// FindAdoptable finds a manifest in the first of the repositories that holds it;
	// fault.ManifestUnknown if it is in none of them.
	FindAdoptable(ctx context.Context, from []Repo, d oci.Digest) (Manifest, error)
}

// Push is how a manifest came into a repository: when it was first put there, or fetched.
type Push struct {
	At    time.Time
	Now   time.Time // by the same clock
	Actor string    // who pushed it, also to where it was copied from, as in the audit log; empty for cached content, and where it is not known
}

// AdoptionOp is the operation ID of adopting one blob: the same for a repeated
// attempt, different for each blob.
func AdoptionOp(by Cause, d oci.Digest) uuid.UUID { return uuid.NewSHA1(by.Op, []byte(d)) }

// CheckAdoption validates the arguments of AdoptBlobs.
func CheckAdoption(by Cause, from []Repo, to Repo, blobs []oci.Digest) error {
	if by.Op == uuid.Nil {
		return errors.New("meta: an adoption needs an operation id")
	}
	if len(blobs) > MaxAdopted {
		return fault.New(fault.Invalid, fault.RequestInvalid, "%d blobs are more than the %d that can be adopted at once", len(blobs), MaxAdopted)
	}
	for _, r := range from {
		if r.Tenant != to.Tenant {
			return fault.New(fault.Invalid, fault.RequestInvalid, "a repository of another tenant cannot be adopted from")
		}
	}
	return nil
}

// Missing are the references of a manifest that its repository must hold and
// does not, each list sorted. It is the cause of fault.ManifestBlobUnknown.
type Missing struct {
	Blobs    []oci.Digest
	Children []oci.Digest // manifests that an index names
}

// All are the digests of both lists.
func (m *Missing) All() []oci.Digest {
	return append(append(make([]oci.Digest, 0, len(m.Blobs)+len(m.Children)), m.Blobs...), m.Children...)
}

// Error implements error, for logs.
func (m *Missing) Error() string {
	return fmt.Sprintf("%d blobs and %d manifests are missing", len(m.Blobs), len(m.Children))
}

// Fault is the refusal of the manifest; nil if nothing is missing. Its detail
// names every digest, so that a client can push all of them before it tries again.
func (m *Missing) Fault() error {
	all := m.All()
	if len(all) == 0 {
		return nil
	}
	message := fmt.Sprintf("the manifest names %d blobs and manifests that this repository does not hold; push them first", len(all))
	if len(all) == 1 {
		kind := "blob"
		if len(m.Blobs) == 0 {
			kind = "manifest"
		}
		message = fmt.Sprintf("the manifest names %s %s, which this repository does not hold; push it first", kind, all[0])
	}
	return fault.Wrap(m, fault.NotFound, fault.ManifestBlobUnknown, "%s", message).
		WithDetail(map[string][]oci.Digest{"digests": all})
}

// CheckTags refuses tags of a provisional manifest, which may expire.
func (p *ManifestPut) CheckTags() error {
	if p.Provisional && len(p.Tags) > 0 {
		return errors.New("meta: a provisional manifest takes no tags")
	}
	return nil
}
