package meta

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// MaxPurgedManifests is how many manifests a purge lists.
const MaxPurgedManifests = 100

// MaxPurgeRounds is how often a purge looks again for what was pushed meanwhile.
const MaxPurgeRounds = 4

// DigestPurge asks to end a digest in all repositories of a tenant.
type DigestPurge struct {
	Tenant tenant.ID
	Digest oci.Digest
	Force  bool // also end live manifests that name it
	By     Cause
}

// NamingManifest is a live manifest that is a digest, or names it: as a blob, as a child, or
// through a child.
type NamingManifest struct {
	Registry   string // slug
	Repository string
	Digest     oci.Digest
}

// Name is the resource name of its repository within the tenant, with its digest.
func (m NamingManifest) Name() string {
	return fmt.Sprintf("registries/%s/repositories/%s@%s", m.Registry, m.Repository, m.Digest)
}

// PurgePlace is a hosted repository that has a digest: live, in the trash, or as a blob.
type PurgePlace struct {
	Registry   string // slug
	Repository string
	Deleted    bool // the repository, or its registry
}

// PurgeState is what a tenant has of a digest, and of what its last purge ended.
type PurgeState struct {
	Running   bool             // a purge is ending rows
	Present   bool             // a repository has it, hosted or cached, live or in the trash
	Manifests []NamingManifest // live ones that name it, at most MaxPurgedManifests and one more
	Objects   int              // condemned objects with its bytes, or with those of what its purge ended
	DeletedAt time.Time        // when the last of them may be deleted; zero without any
}

// Purges end digests for good, such as of a leaked secret (protocol section 12).
type Purges interface {
	// PurgeDigest ends a digest in all repositories of the tenant, hosted and cached: the
	// manifests that are it or name it with their tags, their history and trash, and the blob,
	// with what only those manifests named. fault.NotEmpty (Conflict) while live manifests name
	// it, unless it is forced; then nothing has changed, or they were pushed meanwhile. Where
	// ctx ends, or the time of a request, the janitor continues. fault.Busy (Conflict) where
	// pushes bring it back each time.
	PurgeDigest(ctx context.Context, p DigestPurge) (PurgeState, error)
	// FindPurge returns the state of a digest.
	FindPurge(ctx context.Context, t tenant.ID, d oci.Digest) (PurgeState, error)
	// ListPurgePlaces lists the hosted repositories of the tenant that have a digest.
	ListPurgePlaces(ctx context.Context, t tenant.ID, d oci.Digest) ([]PurgePlace, error)
}

// NamedByManifests is the error for purging a digest that live manifests name, at least one.
func NamedByManifests(d oci.Digest, named []NamingManifest) error {
	what := fmt.Sprintf("%d live manifests, such as %s, are", len(named), named[0].Name())
	switch {
	case len(named) > MaxPurgedManifests:
		what = fmt.Sprintf("more than %d live manifests, such as %s, are", MaxPurgedManifests, named[0].Name())
		named = named[:MaxPurgedManifests]
	case len(named) == 1:
		what = "the live manifest " + named[0].Name() + " is"
	}
	fields := map[string]string{}
	for i, m := range named {
		fields[fmt.Sprintf("manifest_%d", i+1)] = m.Name()
	}
	return fault.New(fault.Conflict, fault.NotEmpty,
		"%s or name %s; to purge it with them, repeat the request with force=true", what, d).WithDetail(fields)
}

// PurgeOvertaken is the error for a digest that was pushed again in each round of its purge.
func PurgeOvertaken(d oci.Digest) error {
	return fault.New(fault.Conflict, fault.Busy, "%s was pushed again each time that the purge had ended it; stop those pushes, then repeat the request", d)
}
