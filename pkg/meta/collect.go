package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/oci"
)

// Condemned is an object whose bytes may be deleted: no row will point to it again.
type Condemned struct {
	Key       blob.Key
	Multipart string
}

// Collector is the janitor's side of the storage protocol (section 6). Each call
// processes at most limit rows and returns how many; 0 means nothing is due. Any
// number of janitors may call at once.
type Collector interface {
	// ReapUploads expires idle sessions, condemns their objects, and removes ended
	// sessions; it also condemns staged objects without a session.
	ReapUploads(ctx context.Context, limit int) (int, error)
	// UnlinkBlobs is phase B: unlink unreferenced blobs from repositories.
	UnlinkBlobs(ctx context.Context, limit int) (int, error)
	// DropBlobs is phase C: drop blobs without links, condemn their objects and return
	// their bytes to the quota.
	DropBlobs(ctx context.Context, limit int) (int, error)
	// ClaimCondemned is the first half of phase D: objects due for deletion,
	// each claimed for a while.
	ClaimCondemned(ctx context.Context, limit int) ([]Condemned, error)
	// ForgetObject is the second half, after the bytes are deleted.
	ForgetObject(ctx context.Context, k blob.Key) error
	// PurgeDeleted removes the content of repositories, registries and tenants
	// that are being deleted, and continues with deletions of referrers and purges of
	// digests.
	PurgeDeleted(ctx context.Context, limit int) (int, error)
	// CondemnUnknown records a stored object without a row as condemned. It ignores a
	// key that has a row by now. The reconciler calls it.
	CondemnUnknown(ctx context.Context, k blob.Key) error
	// SweepUnmarked is the weekly full sweep: it marks unreferenced rows without a
	// mark (invariant I13) and returns their number. More than 0 is a defect.
	SweepUnmarked(ctx context.Context) (int, error)
	// SettleCharges corrects the charges of older versions, a page at a time, and
	// returns the number of rows. It charges manifests for uncounted references, and
	// removes leftover rows of deleted tags. It reads all manifests and tags.
	SettleCharges(ctx context.Context) (int, error)
	// TrimEvents removes events older than Lifetimes.Events, and the oldest of a
	// tenant beyond Limits.Events. Events of content (by pushes, deletions and pulls)
	// and of refusals are counted separately; those of administration have
	// AdministrationKept times that limit. So no kind pushes out another. It reads up
	// to that many events.
	TrimEvents(ctx context.Context, limit int) (int, error)
	// TrimTagHistory removes changes of tags older than Lifetimes.TagHistory.
	TrimTagHistory(ctx context.Context, limit int) (int, error)
	// TrimTokens removes what no longer concerns any token of the data port: revocations,
	// and refresh tokens that have expired, which are small, all at once.
	TrimTokens(ctx context.Context, limit int) (int, error)
	// StoredBytes is the sum of the bytes that all tenants are charged for. It reads a
	// row for each tenant.
	StoredBytes(ctx context.Context) (int64, error)
}

// Finding is one broken invariant of the storage protocol:
//
//	I1   the object behind a blob that was ever hosted exists; that of any blob has
//	     the blob's size and digest
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

// Place locates a finding in the terms of the admin API. Both fields are empty if
// the finding belongs to no known tenant.
type Place struct {
	Tenant string `json:"tenant,omitempty"`
	// Repositories are up to 10 resource names: the repository of the finding, or
	// those that hold the blob.
	Repositories []string `json:"repositories,omitempty"`
}

// ObjectRow is one row of objects, for the check against the store.
type ObjectRow struct {
	Key   blob.Key
	State byte   // 'S' staged, 'L' live, 'D' condemned
	Size  int64  // of live objects
	Blob  string // digest of the blob row that points to it, if any
	// Cached says that the blob was never hosted: without its bytes it is fetched again.
	Cached bool
	// Suspect says that a read found the object missing or wrong.
	Suspect bool
}

// Checker is what fsck reads.
type Checker interface {
	// CheckRows reports each broken invariant that rows alone can show: I4 to
	// I7, I10, I12, I13 and the row side of I3.
	CheckRows(ctx context.Context, report func(Finding)) error
	// ListObjects pages every object row in key order, after the given key.
	ListObjects(ctx context.Context, after blob.Key, limit int) ([]ObjectRow, error)
	// FindObject returns the row of one key, or fault.ResourceUnknown.
	FindObject(ctx context.Context, k blob.Key) (ObjectRow, error)
	// LocateBlob names a tenant, and up to 10 of the repositories that hold a
	// blob; the digest may be empty.
	LocateBlob(ctx context.Context, owner int64, d oci.Digest) (Place, error)
}
