package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
)

// TagChange is one entry of a tag's history.
type TagChange struct {
	Version  int64 // of the tag from then on; each change adds 1
	At       time.Time
	Actor    string     // as in the audit log; empty where the log no longer has it
	Verb     TagVerb    // by what
	Digest   oci.Digest // what it points to from then on; empty: it was deleted
	Previous oci.Digest // what it pointed to before; empty: it was not there
}

// TagVerb is how a tag was changed.
type TagVerb string

// The verbs.
const (
	TagPushed    TagVerb = "push"
	TagPromoted  TagVerb = "promote"
	TagDeleted   TagVerb = "delete" // alone, or with its manifest
	TagUndeleted TagVerb = "undelete"
)

// MaxTagChanges is how many changes of one tag its history has.
const MaxTagChanges = 100

// TagHistory keeps what tags pointed to, since Lifetimes.TagHistory and the last
// MaxTagChanges changes. The transaction that moves or deletes a tag writes it; a push of
// what the tag points to already is no change. It goes with its repository.
type TagHistory interface {
	// ListTagHistory pages the changes of a tag, also of a deleted one, the newest
	// first; Page.After is the version of the last one seen, in decimal. A tag that never
	// was has none. fault.NameUnknown if the repository does not exist.
	ListTagHistory(ctx context.Context, r Repo, tag string, p Page) ([]TagChange, error)
	// UndeleteTag points a tag to what it pointed to before, and returns that. If that
	// manifest is in the trash, it is restored with the tag, as by UndeleteManifest. It is
	// an overwrite where the tag points to another manifest: tag rules decide, unless
	// Cause.OverrideTagRules. What the tag has already is no change.
	// fault.ManifestUnknown if the history or the manifest is gone; fault.AlreadyExists
	// if the last change was an undelete, and the request names neither version nor
	// digest. Cause.ValidateOnly decides all but the quota, and changes nothing.
	UndeleteTag(ctx context.Context, u TagUndelete) (oci.Digest, error)
}
