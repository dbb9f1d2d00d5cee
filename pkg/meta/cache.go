package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// CachedTag is what an upstream said of a tag, and when.
type CachedTag struct {
	Manifest  Manifest
	CheckedAt time.Time // the last time the upstream confirmed it
}

// CachedPut is a manifest that an upstream gave.
type CachedPut struct {
	Repo     Repo // of a cache registry
	Manifest Manifest
	Parsed   *oci.Manifest // of Manifest.Payload
	Tag      string        // that it was asked for by; empty by digest
	Keep     time.Duration // how long it is kept after its last pull
}

// CachedPull is a pull of cached content.
type CachedPull struct {
	Repo   Repo
	Digest oci.Digest // of a manifest
	Keep   time.Duration
}

// TellAgain is how long the audit log has told of a tag that goes back and forth:
// one event stands for all of that time.
const TellAgain = time.Hour

// Cache keeps what upstreams gave, in repositories of their cache registries.
// Manifests.FindManifest by digest, Blobs.FindBlob and Uploads work there as in
// hosted repositories; CommitUpload with the zero Cause writes no event. What
// only pushes do is refused there, and what is here is refused in hosted
// repositories, as if there were no such repository. The first thing that
// is put into a repository makes it. A cache registry that was given up takes no
// more: fault.NameUnknown.
type Cache interface {
	CachedTags
	CachedManifests
	CachedBlobs
	CachePurger
	ClaimFinder
}

// CachedTags keeps what tags were upstream.
type CachedTags interface {
	// FindCachedTag finds a tag with its manifest, in one statement;
	// fault.ManifestUnknown when the upstream was never asked, or what it gave is
	// no longer kept, or was given up.
	FindCachedTag(ctx context.Context, r Repo, tag string) (CachedTag, error)
	// ConfirmCachedTag records that the upstream has just said, without sending
	// it, that the tag is d, with the event of PutCached; fault.ManifestUnknown
	// when that manifest is not kept.
	ConfirmCachedTag(ctx context.Context, r Repo, tag string, d oci.Digest) error
	// DropCachedTag forgets the tag, which the upstream does not have any more,
	// and not the manifest. A tag that is not there is no error.
	DropCachedTag(ctx context.Context, r Repo, tag string) error
}

// CachedManifests keeps manifests and when they were pulled.
type CachedManifests interface {
	// PutCached stores a manifest, with the references it has and none of which
	// need to be there, and points the tag to it, checked now. It does not prolong
	// what is there already, except for the manifest itself, whose media type stays
	// what it is.
	//
	// A tag that goes back to the manifest it had before its present one is
	// stored like any other; the event "cache.tag_rollback" of the actor
	// upstreams/<slug> says so (contract row E15), of each tag once in TellAgain. Its target is
	// upstreams/<slug>/repositories/<name>:<tag>@<digest>.
	PutCached(ctx context.Context, p CachedPut) error
	// FindNaming finds a manifest of the repository that names d: as a child of an
	// index, as its config or as a layer. fault.ManifestUnknown when none
	// does, or the repository does not exist.
	FindNaming(ctx context.Context, r Repo, d oci.Digest) (Manifest, error)
	// RecordPulls makes each manifest, and all indexes that list it, kept for
	// CachedPull.Keep from now on. Those that are not there are ignored; a pull
	// less than an hour after one that was recorded may be, too.
	RecordPulls(ctx context.Context, pulls []CachedPull) error
}

// CachedBlobs links blobs that the tenant has already.
type CachedBlobs interface {
	BlobLinker
	// WasSent says whether a repository of r's cache registry holds the blob.
	WasSent(ctx context.Context, r Repo, d oci.Digest) (bool, error)
	// LinkSent is LinkBlob for a blob that another repository of r's cache registry
	// holds: the same upstream has sent it under that name, which is the proof.
	LinkSent(ctx context.Context, r Repo, d oci.Digest) (Blob, error)
}

// BlobLinker links blobs that the tenant has in any repository.
type BlobLinker interface {
	// LinkBlob links a blob that the tenant has in any repository into r, for a
	// while, as a fresh upload would; fault.BlobUnknown when it has none, or only
	// a suspect one. Nothing is charged: the tenant has it already. The caller has
	// had those very bytes from the upstream: what an upstream says of a digest
	// proves nothing, and the blob may be another one's secret (contract row S70).
	LinkBlob(ctx context.Context, r Repo, d oci.Digest) (Blob, error)
}

// ClaimFinder finds which names registries have.
type ClaimFinder interface {
	// ClaimedBy says whether one of the registries has, or ever had, a manifest
	// under this name, in one statement.
	ClaimedBy(ctx context.Context, t tenant.ID, registries []tenant.RegistryID, name string) (bool, error)
}

// CachePurger forgets cached content at once.
type CachePurger interface {
	// PurgeCached forgets a tag or a manifest with all tags on it and, if the
	// zero reference is given, the whole repository. fault.ManifestUnknown or
	// fault.NameUnknown when it is not there. The event is "cache.purge", its target
	// as that of PutCached.
	PurgeCached(ctx context.Context, by Cause, r Repo, ref oci.Reference) error
}

// CacheCollector is the part of the janitor's work that is about cached content,
// and about provisional manifests (ManifestPut). Calls are as those of Collector.
type CacheCollector interface {
	// ExpireCached removes cached manifests past their time, with their tags, and
	// makes the blobs that they named candidates at once, whatever is left of the
	// time of their uploads. An index goes before its children: nothing goes that
	// an index names which stays; it is kept as long as that index instead: for
	// good, if that is a hosted one without expiry. Blobs that a hosted manifest
	// named stay for Lifetimes.Released, as after its deletion.
	ExpireCached(ctx context.Context, limit int) (int, error)
	// EvictCached ends the time of the manifests that were pulled least recently,
	// in caches whose blobs are more than UpstreamSettings.MaxBytes, until what
	// stays fits; ExpireCached removes them. What counts are the blobs that
	// manifests name whose time is not over, each once in a cache, except for those
	// that a hosted repository holds, too: they are the tenant's, and their
	// eviction would free nothing. What an index
	// lists does not go before the index but with it, unless another index that
	// stays lists it, too, or it was pulled since.
	EvictCached(ctx context.Context, limit int) (int, error)
	// ShrinkCached does so for tenants that have used up their quota except for one part
	// in CacheRoom, in all their caches: what was pushed stays, and what was pulled
	// least recently goes.
	ShrinkCached(ctx context.Context, limit int) (int, error)
}

// CacheRoom is which part of a quota cached content leaves free when it is shrunk,
// one in so many, so that something new can be cached and a push need not wait.
const CacheRoom = 16
