package meta

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Prefetch names content of an upstream that is fetched before any client asks, with its
// last run.
type Prefetch struct {
	Tenant      tenant.ID
	Slug        string
	Upstream    string // its slug
	DisplayName string
	References  []string // 'library/alpine:3.20' or 'library/alpine@sha256:…', by the name at the upstream
	Patterns    []string // 'library/alpine:3.*': of the tags of one repository
	Platforms   []string // 'linux/arm64/v8': patterns of what is fetched of an index; none: all
	Interval    time.Duration
	Disabled    bool
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time

	Run        PrefetchRun // the last one; not written with the prefetch
	TenantSlug string      // only of ClaimPrefetch
}

// PrefetchRun is the last run of a prefetch.
type PrefetchRun struct {
	Number  int64     // grows with each run; 0: there was none
	DueAt   time.Time // of the next one; zero: when it is asked for. Of one that runs: when another worker may continue it
	BeganAt time.Time
	EndedAt time.Time // zero while it runs
	Listed  bool      // all of its references have rows
	Limited bool      // its patterns match more than a run fetches
	Total   int64     // references, once they are listed
	Done    int64     // of them
	Failed  int64     // of them
	Bytes   int64     // that were fetched for them
	Failure string    // why it could not continue, the last time
}

// PrefetchReference is a reference of the last run.
type PrefetchReference struct {
	Reference string
	PrefetchResult
	Attempts  int64
	UpdatedAt time.Time
}

// PrefetchResult is what became of an attempt to fetch a reference.
type PrefetchResult struct {
	State   PrefetchState
	Digest  string // of the manifest; empty: not known
	Bytes   int64  // that were fetched
	Failure string
}

// PrefetchState is how far a reference is.
type PrefetchState string

// The states of references.
const (
	PrefetchPending PrefetchState = "pending"
	PrefetchDone    PrefetchState = "done"
	PrefetchFailed  PrefetchState = "failed"
)

// Prefetches keeps prefetches with their runs; absence is fault.ResourceUnknown. One may
// name an upstream that was deleted since, and fetches from it again when that comes back.
type Prefetches interface {
	// CreatePrefetch lets the first run begin now, unless it has no interval.
	CreatePrefetch(ctx context.Context, by Cause, p Prefetch) (Prefetch, error)
	FindPrefetch(ctx context.Context, t tenant.ID, slug string) (Prefetch, error)
	// ListPrefetches pages by slug.
	ListPrefetches(ctx context.Context, t tenant.ID, p Page) ([]Prefetch, error)
	// UpdatePrefetch changes everything but the slug; Version as in UpdateTenant. A run of it
	// ends, and the next one begins as after CreatePrefetch.
	UpdatePrefetch(ctx context.Context, by Cause, p Prefetch) (Prefetch, error)
	DeletePrefetch(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
	// RunPrefetch lets a run begin now, unless one is running. fault.RequestInvalid for a
	// disabled prefetch.
	RunPrefetch(ctx context.Context, by Cause, t tenant.ID, slug string) (Prefetch, error)
	// ListPrefetchReferences pages the references of the last run, in their order as text.
	ListPrefetchReferences(ctx context.Context, t tenant.ID, slug string, p Page) ([]PrefetchReference, error)
}

// PrefetchStep is a worker in the run that it claimed.
type PrefetchStep struct {
	Tenant   tenant.ID
	Prefetch string // its slug
	Number   int64  // of the run
	Worker   uuid.UUID
	Hold     time.Duration // for how long no other worker continues, from each step on
}

// PrefetchRuns lets workers run prefetches. Any number may work: a run is of one at a time,
// and is continued by another one when that is not heard of. The error of a step of a run
// that the worker has no longer is RunLost.
type PrefetchRuns interface {
	// ClaimPrefetch begins a run that is due, or continues one that no worker has, and returns
	// its prefetch with it. It returns false if no run is due.
	ClaimPrefetch(ctx context.Context, worker uuid.UUID, hold time.Duration) (Prefetch, bool, error)
	HoldPrefetch(ctx context.Context, s PrefetchStep) error
	// AddPrefetchReferences adds references to the run, pending; those that it has stay as they
	// are. It adds none beyond MaxPrefetched, and returns true then, as PrefetchRun.Limited says
	// from then on.
	AddPrefetchReferences(ctx context.Context, s PrefetchStep, references []string) (bool, error)
	// ListedPrefetch records that the run has all that the prefetch names.
	ListedPrefetch(ctx context.Context, s PrefetchStep) error
	// NextPrefetch is the pending reference with the fewest attempts; false if all are done or
	// failed.
	NextPrefetch(ctx context.Context, s PrefetchStep) (PrefetchReference, bool, error)
	// RecordPrefetch records an attempt. What is done or failed stays so.
	RecordPrefetch(ctx context.Context, s PrefetchStep, reference string, r PrefetchResult) error
	// ReleasePrefetch leaves the run to any worker, from a while later on.
	ReleasePrefetch(ctx context.Context, s PrefetchStep, after time.Duration, failure string) error
	// EndPrefetch ends the run, with an event of its tenant.
	EndPrefetch(ctx context.Context, by Cause, s PrefetchStep) error
}

// MaxPrefetched is how many references a run fetches at most.
const MaxPrefetched = 10_000

// ParsePrefetchReference splits 'library/alpine:3.20' or 'library/alpine@sha256:…'.
func ParsePrefetchReference(s string) (string, oci.Reference, error) {
	name, digest, byDigest := strings.Cut(s, "@")
	if byDigest {
		d, err := oci.ParseDigest(digest)
		return name, oci.Reference{Digest: d}, cmp.Or(oci.CheckName(name), err)
	}
	name, tag, err := cutTag(s)
	if err == nil {
		err = oci.CheckTag(tag)
	}
	return name, oci.Reference{Tag: tag}, err
}

// ParsePrefetchPattern splits 'library/alpine:3.*'.
func ParsePrefetchPattern(s string) (string, string, error) {
	name, tag, err := cutTag(s)
	if err == nil {
		err = oci.CheckPattern(tag)
	}
	return name, tag, err
}

func cutTag(s string) (string, string, error) {
	name, tag, found := strings.Cut(s, ":")
	if !found {
		return "", "", fault.New(fault.Invalid, fault.RequestInvalid, "%q has no tag; write library/alpine:3.20", fault.Clip(s))
	}
	return name, tag, oci.CheckName(name)
}
