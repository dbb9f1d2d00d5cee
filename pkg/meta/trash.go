package meta

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// Trashed is a manifest that was deleted and can be restored.
type Trashed struct {
	Digest       oci.Digest
	MediaType    string
	Size         int64
	Subject      oci.Digest // or what it accompanied by its tags; may be empty
	Tags         []string   // that pointed to it
	Actor        string     // who deleted it
	DeletedAt    time.Time
	RestoreUntil time.Time
}

// ManifestUndelete is a manifest to restore.
type ManifestUndelete struct {
	Repo   Repo
	Digest oci.Digest
	Tags   []string // that it takes instead of those that it had; nil: those; empty: it takes no tag
	Seen   int64    // not 0: its one tag moves to it, as by TagMove
	By     Cause
}

// Trash keeps the hosted manifests that were deleted, for Lifetimes.Undelete
// (protocol section 12). Nothing else finds them. A push of the same manifest takes it
// out of the trash, and a push that needs the room ends the oldest.
type Trash interface {
	// ListTrash pages what can be restored in a repository by its digest (Page.After is
	// a digest in text form); fault.NameUnknown if the repository does not exist.
	ListTrash(ctx context.Context, r Repo, p Page) ([]Trashed, error)
	// UndeleteManifest restores a manifest with the children that it held, and the
	// referrers that were deleted with it. Everything but the referrers is as it was, or
	// nothing is. fault.ManifestUnknown if it is not in the trash, or no longer;
	// fault.ManifestBlobUnknown, whose cause is a *Missing, if a child is neither there
	// nor in the trash; fault.AlreadyExists if a tag points to another manifest.
	// A referrer takes those of its tags that are free. Cause.ValidateOnly decides all of
	// this but the quota, and changes nothing.
	UndeleteManifest(ctx context.Context, u ManifestUndelete) error
}

// UndeletionOp is the operation ID of restoring a child or referrer with another
// manifest: the same for a repeated attempt.
func UndeletionOp(by Cause, d oci.Digest) uuid.UUID {
	return uuid.NewSHA1(by.Op, []byte("undelete "+d))
}

// NotInTrash is the error for restoring what is not in the trash.
func NotInTrash(d oci.Digest) error {
	return fault.New(fault.NotFound, fault.ManifestUnknown, "manifest %s is not in the trash of this repository; :listDeletedManifests shows what is", d).
		WithDetail(map[string]string{"reference": d.String()})
}

// maxTaken is how many tags the message of TagsTaken names.
const maxTaken = 10

// TagsTaken is the error for restoring a manifest whose tags, at least one, point to
// others by now.
func TagsTaken(tags []string) error {
	tags = slices.Sorted(slices.Values(tags))
	named, verb := strings.Join(tags[:min(len(tags), maxTaken)], ", "), "point"
	switch more := len(tags) - maxTaken; {
	case more > 0:
		named += fmt.Sprintf(" and %d more", more)
	case len(tags) == 1:
		verb = "points"
	}
	return fault.New(fault.Conflict, fault.AlreadyExists, "%s %s to another manifest by now; name other tags to restore it under, or none (untagged)", named, verb).
		WithDetail(map[string]string{"tags": strings.Join(tags, ",")})
}
