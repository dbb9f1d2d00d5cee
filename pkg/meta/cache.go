package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// CachedTag is the manifest that an upstream had under a tag, and when.
type CachedTag struct {
	Manifest  Manifest
	CheckedAt time.Time // the last time the upstream confirmed it
	Doubted   bool      // see DoubtCachedTags
}

// CachedPut is a manifest from an upstream, to be stored.
type CachedPut struct {
	Repo     Repo // of a cache registry
	Manifest Manifest
	Parsed   *oci.Manifest // of Manifest.Payload
	Tag      string        // that was requested; empty by digest
	Keep     time.Duration // how long it is kept after its last pull
}

// CachedPull is a pull of cached content.
type CachedPull struct {
	Repo   Repo
	Digest oci.Digest // of a manifest
	Keep   time.Duration
	// Grain is the age up to which a recorded pull stands for this one: at most, and by
	// default, an hour, or a 24th of Keep if that is less.
	Grain time.Duration
}

// Age is Grain within its limits.
func (p CachedPull) Age() time.Duration {
	most := min(time.Hour, p.Keep/24)
	if p.Grain > 0 {
		return min(most, p.Grain)
	}
	return most
}

// TellAgain is the minimum time between two rollback events of one tag in the audit
// log.
const TellAgain = time.Hour

// Cache stores upstream content in repositories of the cache registries.
// Manifests.FindManifest by digest, Blobs.FindBlob and Uploads work there as in
// hosted repositories; CommitUpload with the zero Cause writes no event. Cached
// repositories refuse the operations of pushes, and hosted repositories those of
// Cache, with fault.NameUnknown. The first content that is put into a repository
// creates it. A cache registry that was replaced takes no more: fault.NameUnknown.
type Cache interface {
	CachedTags
	CachedManifests
	CachedBlobs
	CachedAges
	CachePurger
	CacheProver
	ClaimFinder
}

// CacheProver takes over what was fetched with former passwords.
type CacheProver interface {
	// ProveCached is called after the upstream has answered for this name under the present
	// credential. It takes over the repository of that name that RotateUpstream kept, if there
	// is one and the cache has none. A cache registry that was replaced takes over nothing.
	ProveCached(ctx context.Context, r Repo) error
}

// CachedTags stores the tags of upstreams.
type CachedTags interface {
	// FindCachedTag finds a tag with its manifest, in one statement;
	// fault.ManifestUnknown if it was never fetched or is no longer kept.
	FindCachedTag(ctx context.Context, r Repo, tag string) (CachedTag, error)
	// ConfirmCachedTag records that the upstream has just confirmed that the tag is d.
	// It writes the event of PutCached, and returns fault.ManifestUnknown when that
	// manifest is not kept.
	ConfirmCachedTag(ctx context.Context, r Repo, tag string, d oci.Digest) error
	// DropCachedTag removes a tag that the upstream no longer has, but not its
	// manifest. A missing tag is not an error.
	DropCachedTag(ctx context.Context, r Repo, tag string) error
	// DoubtCachedTags marks every tag that leads to d, which the upstream no longer
	// has, as doubted until PutCached or ConfirmCachedTag: the tag may have moved since
	// it was checked. A tag leads to its manifest, and to all that this and its
	// children reference.
	DoubtCachedTags(ctx context.Context, r Repo, d oci.Digest) error
	// ListCachedTags lists tags that were checked at or after since, by name.
	ListCachedTags(ctx context.Context, r Repo, since time.Time, p Page) ([]string, error)
}

// CachedManifests keeps manifests and when they were pulled.
type CachedManifests interface {
	// PutCached stores a manifest with its references, which may be missing, and
	// points the tag to it, checked now. Of content that is stored already, only the
	// manifest itself is kept longer; its media type does not change.
	//
	// A tag that returns to its previous manifest is stored like any other, with the event
	// "cache.tag_rollback" of the actor upstreams/<slug> (contract row E15), at most once per
	// tag in TellAgain. Its target is upstreams/<slug>/repositories/<name>:<tag>@<digest>.
	PutCached(ctx context.Context, p CachedPut) error
	// FindNaming finds a manifest of the repository that references d: as a child of
	// an index, as its config or as a layer. fault.ManifestUnknown if no manifest
	// does, or the repository does not exist.
	FindNaming(ctx context.Context, r Repo, d oci.Digest) (Manifest, error)
	// RecordPulls makes each manifest, and all indexes that list it, kept for
	// CachedPull.Keep from now on. Missing manifests are ignored; so may be a pull
	// less than CachedPull.Age after a recorded one.
	RecordPulls(ctx context.Context, pulls []CachedPull) error
}

// CachedAges knows since when content is cached, or hosted.
type CachedAges interface {
	// Lineage is a manifest and the indexes of the repository that list it, or list
	// others that do, the oldest first and MaxLineage at most. It is empty for a manifest
	// that is not stored. The repository may be hosted, too.
	Lineage(ctx context.Context, r Repo, d oci.Digest) ([]Seen, error)
}

// MaxLineage bounds Lineage.
const MaxLineage = 100

// Seen is a manifest, and when it was stored first.
type Seen struct {
	Digest oci.Digest
	At     time.Time
}

// CachedBlobs links blobs that the tenant has already.
type CachedBlobs interface {
	BlobLinker
	// WasSent reports whether a repository of r's cache registry holds the blob.
	WasSent(ctx context.Context, r Repo, d oci.Digest) (bool, error)
	// LinkSent is LinkBlob for a blob that another repository of r's cache registry
	// holds. That the same upstream sent it before is the proof of access.
	LinkSent(ctx context.Context, r Repo, d oci.Digest) (Blob, error)
}

// BlobLinker links blobs that the tenant has in any repository.
type BlobLinker interface {
	// LinkBlob links a blob that the tenant has in any repository into r, for as long
	// as a fresh upload; fault.BlobUnknown if it is missing or suspect. Nothing is
	// charged: the tenant has it already. The caller must have received these bytes
	// from the upstream: a digest alone proves nothing, and the blob may be secret
	// (contract row S70).
	LinkBlob(ctx context.Context, r Repo, d oci.Digest) (Blob, error)
}

// ClaimFinder finds which names registries have.
type ClaimFinder interface {
	// ClaimedBy reports, in one statement, whether one of the registries has, or ever
	// had, a manifest under this name.
	ClaimedBy(ctx context.Context, t tenant.ID, registries []tenant.RegistryID, name string) (bool, error)
}

// CachePurger removes cached content at once.
type CachePurger interface {
	// PurgeCached removes a tag, a manifest with all its tags, or, for the zero
	// reference, the whole repository. fault.ManifestUnknown or fault.NameUnknown if
	// it is missing. The event is "cache.purge", with the target of PutCached.
	PurgeCached(ctx context.Context, by Cause, r Repo, ref oci.Reference) error
	// PurgeUnproved removes what RotateUpstream kept of a repository, and reports whether
	// there was any.
	PurgeUnproved(ctx context.Context, by Cause, u Upstream, name string) (bool, error)
}

// CacheCollector is the janitor's work on cached content and provisional manifests
// (ManifestPut). Calls are like those of Collector.
type CacheCollector interface {
	// ExpireCached removes expired cached manifests with their tags, and makes their
	// blobs candidates for collection at once, also within the grace of an upload. A
	// manifest that an index lists is kept as long as that index; a hosted index
	// without expiry keeps it for good. Blobs that a hosted manifest referenced stay
	// for Lifetimes.Released, as after its deletion.
	ExpireCached(ctx context.Context, limit int) (int, error)
	// EvictCached expires the least recently pulled manifests of caches larger than
	// UpstreamSettings.MaxBytes, until the rest fits; ExpireCached removes them. The
	// size of a cache is that of the distinct blobs of its unexpired manifests. Blobs
	// that a hosted repository also holds do not count: their eviction would free
	// nothing. Manifests that an index lists expire together with it, unless another
	// kept index lists them or they were pulled since.
	EvictCached(ctx context.Context, limit int) (int, error)
	// ShrinkCached does the same in all caches of tenants with less than 1/CacheRoom of
	// their quota free. Pushed content stays.
	ShrinkCached(ctx context.Context, limit int) (int, error)
}

// CacheRoom is the divisor for the part of a quota that ShrinkCached frees, so that
// new content can be cached and pushes need not wait.
const CacheRoom = 16
