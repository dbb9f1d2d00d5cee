package retention

import (
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// Content is all that a policy knows of a repository. A digest that none of its manifests
// has is left out of account.
type Content struct {
	Tags      []Tag
	Manifests []Manifest
	BlobSizes []int64       // of the blobs that Manifest.Blobs names by their index
	TagRules  tagrule.Rules // those that forbid to delete (tagrule.Rules.For)
}

// Tag is a tag, with what is known of it.
type Tag struct {
	Name     string
	Digest   oci.Digest
	MovedAt  time.Time // since when it points to its manifest; zero: since that was pushed
	PulledAt time.Time // zero: never, that is known
	Pulls    int64     // that are known
	Version  int64     // of the store: another one, where the tag moved
}

// Manifest is a manifest, with what is known of it.
type Manifest struct {
	Digest     oci.Digest
	Size       int64
	PushedAt   time.Time
	PulledAt   time.Time // zero: never, that is known
	Pulls      int64     // that are known
	UntaggedAt time.Time // when its last tag went; zero: unknown, or never
	Subject    oci.Digest
	Children   []oci.Digest
	Blobs      []int32
}

// Moment is when a policy is evaluated, and since when pulls are known.
type Moment struct {
	Now time.Time
	// PullsSince is when the accounting of pulls began: what it has no pull of counts as
	// pulled then. Zero: it has not begun, and everything counts as pulled now.
	PullsSince time.Time
	// Slack is how much later than its period a rule about pulls acts: a pull may be
	// recorded so much later than it was answered.
	Slack time.Duration
}

// lastUse is when something was pulled or pushed last, or may have been.
func (m Moment) lastUse(pushed, pulled time.Time) time.Time {
	if m.PullsSince.IsZero() {
		return m.Now
	}
	return latest(m.PullsSince, pushed, pulled)
}

func latest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.After(first) {
			first = t
		}
	}
	return first
}
