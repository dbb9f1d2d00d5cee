package meta

import (
	"cmp"
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// Manifest is a stored manifest, byte for byte as it was pushed.
type Manifest struct {
	Digest    oci.Digest
	MediaType string
	Payload   []byte
}

// ManifestPut is a manifest to store, with its tags.
type ManifestPut struct {
	Repo                   Repo
	Manifest               Manifest
	Parsed                 *oci.Manifest // of Manifest.Payload
	Tags                   []string      // may be empty: by digest only
	By                     Cause
	AllowMissingReferences bool // references may be missing (registry setting); foreign layers always may
	// Provisional stores the manifest for an index that will name it: it expires after
	// Lifetimes.Grace, unless an index names it by then. It has no tags, claims no
	// name and makes no repository listed. It does not make a permanent manifest
	// expire. A later put that is not provisional, or of an index that names it, ends
	// the expiry in its own transaction.
	Provisional bool
	Verb        TagVerb // in the history of its tags; empty: TagPushed
	// Undelete puts what is in the trash of the repository: the same transaction finds it
	// there, and refuses tags that point to another manifest. UndeleteManifest sets it.
	Undelete bool
	Seen     int64 // of an Undelete, not 0: its one tag moves, as by TagMove
	// Follows is, of an Undelete, the manifest that it comes back with: without that it
	// stays in the trash (fault.ManifestUnknown).
	Follows oci.Digest
	// Requires are manifests that the repository must have when the put commits, as
	// children of an index: it fails with them missing, and none of them expires after it.
	// So a tag that is promoted leads to all that was promoted with it.
	Requires []oci.Digest
	// Replaces, if not nil, is what every tag of the put has to point to until then; empty:
	// no tag may exist. Otherwise it is refused with fault.EtagMismatch.
	Replaces *oci.Digest
	// PushedBy is, of a copy, who pushed the manifest to where it is from, which FindPush then
	// says of the copy; empty: it is not known. nil: By.Actor pushes it.
	PushedBy *string
	// Gates, if not nil, are the promotion gates that were asked about a promotion; without
	// changes since. See CheckGates.
	Gates *GateVersions
}

// TagVerb is Verb, or its default.
func (p ManifestPut) TagVerb() TagVerb { return cmp.Or(p.Verb, TagPushed) }

// Pusher is who is recorded as having pushed the manifest, if it is not there yet; nil: it is
// not known.
func (p *ManifestPut) Pusher() *string {
	by := cmp.Or(p.PushedBy, &p.By.Actor)
	if *by == "" {
		return nil
	}
	return by
}

// Staying are the manifests that a running deletion of referrers does not take any more once
// the put has committed: itself, if it is a referrer, and what it requires.
func (p *ManifestPut) Staying() []oci.Digest {
	if p.Parsed.Subject == nil && !slices.ContainsFunc(p.Tags, tagrule.IsCompanion) {
		return p.Requires
	}
	return append(slices.Clone(p.Requires), p.Manifest.Digest)
}

// CheckReplaced decides by Replaces about a tag that points to a manifest; empty: it does
// not exist.
func (p *ManifestPut) CheckReplaced(tag string, at oci.Digest) error {
	if p.Replaces == nil || at == *p.Replaces {
		return nil
	}
	return fault.New(fault.Conflict, fault.EtagMismatch, "tag %s was moved meanwhile; try again", tag)
}

// ManifestDelete is a manifest to delete, with all tags that point to it.
type ManifestDelete struct {
	Repo      Repo
	Digest    oci.Digest
	By        Cause
	Referrers bool // also delete its referrers, and what only companion tags of it point to, recursively, except what an index names
	Force     bool // delete it although an index names it
	// Evaluated is what a retention policy decided the deletion by; nil: no policy did.
	Evaluated *RetentionDeletion
}

// MaxParents is how many indexes the error of a refused deletion names.
const MaxParents = 10

// NamedByIndex is the error for deleting a manifest that the indexes parents, at
// least one, name.
func NamedByIndex(d oci.Digest, parents []oci.Digest) error {
	parents = slices.Sorted(slices.Values(parents))
	others := ""
	if len(parents) > 1 {
		others = " and others"
	}
	return fault.New(fault.Unsupported, fault.UnsupportedReason,
		"manifest %s is named by index %s%s of this repository; delete that first, or this one with force=true", d, parents[0], others).
		WithDetail(map[string][]oci.Digest{"parents": parents[:min(len(parents), MaxParents)]})
}

// Referrer is a manifest that has a subject.
type Referrer struct {
	Digest       oci.Digest
	MediaType    string
	Size         int64
	ArtifactType string
	Annotations  map[string]string
}

// Manifests keeps manifests and what they reference. Absence is
// fault.ManifestUnknown; fault.NameUnknown if the repository does not exist.
type Manifests interface {
	// FindManifest finds by tag or by digest, in one statement.
	FindManifest(ctx context.Context, r Repo, ref oci.Reference) (Manifest, error)
	// PutManifest stores the manifest, its references and tags in one
	// transaction. fault.ManifestBlobUnknown (kind NotFound), whose cause is a
	// *Missing, names all missing blobs and children of an index;
	// fault.ManifestInvalid a media type that differs from the stored one.
	PutManifest(ctx context.Context, p ManifestPut) error
	// DeleteManifest deletes the manifest and all tags that point to it.
	// fault.UnsupportedReason (405, see NamedByIndex) while an index names it.
	// Referrers are deleted in separate steps. It waits for them until ctx ends or the
	// store is quiesced; Collector.PurgeDeleted does the rest. Referrers pushed after
	// the manifest was deleted stay.
	DeleteManifest(ctx context.Context, d ManifestDelete) error
	// ListReferrers pages the manifests whose subject is d by their digest (Page.After
	// is a digest in text form), of one artifact type unless it is empty. An unknown
	// subject or repository has no referrers, without an error. A page also ends with
	// the manifest that reaches MaxReferrerBytes.
	ListReferrers(ctx context.Context, r Repo, subject oci.Digest, artifactType string, p Page) ([]Referrer, error)
}

// MaxReferrerBytes bounds a page of ListReferrers, by the sum of Referrer.Size:
// annotations make a row up to 4 MiB long.
const MaxReferrerBytes = 4 << 20

// Tags keeps tags. Operations on one tag are linearizable.
type Tags interface {
	// ListTags pages names in byte order; fault.NameUnknown if the repository
	// does not exist.
	ListTags(ctx context.Context, r Repo, p Page) ([]string, error)
	// TagsBetween is ListTags for a part of the names, in either order.
	TagsBetween(ctx context.Context, r Repo, b Between[string]) ([]string, error)
	// DeleteTag removes the tag, not the manifest; fault.ManifestUnknown when
	// it does not exist.
	DeleteTag(ctx context.Context, by Cause, r Repo, tag string) error
}
