package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/oci"
)

// Condemned is an object whose bytes may go: nothing points to it, for good.
type Condemned struct {
	Key       blob.Key
	Multipart string
}

// Collector is the janitor's side of the storage protocol (section 6). Each
// call does at most limit rows of work and says how many it did; 0 means
// nothing is due. Any number of janitors may call at once.
type Collector interface {
	// ReapUploads expires sessions past their time, condemns their objects, and
	// forgets ended sessions; it also condemns staged objects no session names.
	ReapUploads(ctx context.Context, limit int) (int, error)
	// UnlinkBlobs is phase B: unlink blobs no manifest names from repositories.
	UnlinkBlobs(ctx context.Context, limit int) (int, error)
	// DropBlobs is phase C: drop blobs no repository links, condemn their
	// objects and give their bytes back to the quota.
	DropBlobs(ctx context.Context, limit int) (int, error)
	// ClaimCondemned is the first half of phase D: objects due for deletion,
	// each claimed for a while.
	ClaimCondemned(ctx context.Context, limit int) ([]Condemned, error)
	// ForgetObject is the second half, after the bytes are gone.
	ForgetObject(ctx context.Context, k blob.Key) error
	// PurgeDeleted removes the content of repositories, registries and tenants
	// that are being deleted, and continues with deletions of referrers.
	PurgeDeleted(ctx context.Context, limit int) (int, error)
	// CondemnUnknown records a stored object that no row knows, as condemned; a
	// key that is known by now is left alone. The reconciler calls it.
	CondemnUnknown(ctx context.Context, k blob.Key) error
	// SweepUnmarked is the weekly full sweep: it marks unreferenced rows that
	// carry no mark (invariant I13) and says how many there were: 0, or a
	// defect.
	SweepUnmarked(ctx context.Context) (int, error)
	// SettleCharges sets right what older versions left, a page at a time, and says
	// how many rows that were: manifests whose references were not counted are
	// charged for them, and rows that deleted tags kept, with their charge, go. It
	// reads all manifests and tags.
	SettleCharges(ctx context.Context) (int, error)
	// TrimEvents removes events older than Lifetimes.Events, and the oldest beyond
	// Limits.Events of a tenant: of content (what pushes, deletions and pulls write)
	// and of refusals apart, and of administration beyond AdministrationKept times
	// as many. So none of these can push out another. It reads up to as many events.
	TrimEvents(ctx context.Context, limit int) (int, error)
	// StoredBytes is how many bytes all tenants together are charged for. It reads
	// a row for each tenant.
	StoredBytes(ctx context.Context) (int64, error)
}

// Finding is one broken invariant of the storage protocol:
//
//	I1   the object behind a blob exists and has the blob's size and digest
//	I3   a stored object has a row, and rows of staged and condemned ones come to their end
//	I4   condemned is final: no blob points to a condemned object
//	I5   what a manifest holds is linked in its repository, and a manifest that an
//	     index holds is there
//	I6   a tag points to a manifest of its repository
//	I7   a tenant is charged for its blobs, each once, and for its rows; what only
//	     upstreams stand for is distinguished
//	I10  the keys of tenant data begin with the tenant
//	I12  what is cached is reached only through its upstream as it is configured now
//	I13  what nothing references is marked, so that the janitor finds it; what is
//	     cached expires; what is hosted does not, except for provisional manifests,
//	     which have no tag
//
// The others can be seen only while a store is used: I2, no acknowledged push
// is lost; I8, an upload's offset and hash state tell what is stored; I9,
// operations on one tag or upload have an order.
type Finding struct {
	Invariant string `json:"invariant"` // "I1" … "I13"
	Detail    string `json:"detail"`
	Place
	Digest string `json:"digest,omitempty"` // of the blob or manifest that it is about
	Object string `json:"object,omitempty"` // its key in the store
}

// Place says whose a finding is, in the words of the admin API. Both are empty
// where the finding is about no tenant, or about one that is unknown.
type Place struct {
	Tenant string `json:"tenant,omitempty"`
	// Repositories are names of resources, up to 10: the repository that the
	// finding is about, or those that hold the blob.
	Repositories []string `json:"repositories,omitempty"`
}

// ObjectRow is one row of objects, for the check against the store.
type ObjectRow struct {
	Key   blob.Key
	State byte   // 'S' staged, 'L' live, 'D' condemned
	Size  int64  // of live objects
	Blob  string // digest of the blob row that points to it; empty when none does
}

// Checker is what fsck reads.
type Checker interface {
	// CheckRows reports each broken invariant that rows alone can show: I4 to
	// I7, I10, I12, I13 and the row side of I3.
	CheckRows(ctx context.Context, report func(Finding)) error
	// ListObjects pages every object row in key order, after the given key.
	ListObjects(ctx context.Context, after blob.Key, limit int) ([]ObjectRow, error)
	// FindObject says what is known of one key; fault.ResourceUnknown if nothing.
	FindObject(ctx context.Context, k blob.Key) (ObjectRow, error)
	// LocateBlob names a tenant, and up to 10 of the repositories that hold a
	// blob; the digest may be empty.
	LocateBlob(ctx context.Context, owner int64, d oci.Digest) (Place, error)
}
