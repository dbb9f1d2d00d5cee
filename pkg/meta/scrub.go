package meta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// ScrubState is what the scrub does now.
type ScrubState string

// The states of a scrub.
const (
	ScrubIdle    ScrubState = "idle"    // the next round begins in time
	ScrubRunning ScrubState = "running" // a janitor walks, or will soon
	ScrubStopped ScrubState = "stopped" // until an operator starts it
)

// Scrub is the walk over all live objects, in the order of their keys, which compares them with
// their blobs. A deployment has one, and one janitor at a time walks.
type Scrub struct {
	State     ScrubState
	Round     int64     // grows with each round
	StartedAt time.Time // of the round; zero before the first
	EndedAt   time.Time // of the last whole round; before that, when a janitor first looked
	Total     int64     // bytes of all blobs when the round began
	ScrubProgress
}

// ScrubProgress is how far a round is.
type ScrubProgress struct {
	Cursor   blob.Key // the last object that was examined
	Objects  int64    // that were examined
	Bytes    int64    // of these objects
	Found    int64    // of these objects, lost or rotten ones
	Repaired int64    // of these, those that an upstream gave again
}

// Damage is what is wrong with an object.
type Damage string

// The kinds of damage.
const (
	Lost   Damage = "lost"   // the store does not have it
	Rotten Damage = "rotten" // it has another size or other bytes than were stored
)

// Damaged is a blob whose object is lost or rotten.
type Damaged struct {
	Blob
	Damage Damage
	Place
	FoundAt time.Time
}

// CachedCopy is a repository of an upstream, as it is configured now, whose cache has a blob.
type CachedCopy struct {
	Tenant     tenant.ID
	TenantSlug string
	Upstream   string // slug
	Repository string
}

// Scrubs keeps the state of the scrub, and what it found.
type Scrubs interface {
	FindScrub(ctx context.Context) (Scrub, error)
	// StartScrub begins a round, unless one is running. It continues one that was stopped. With
	// whole a round begins at the first object in either case.
	StartScrub(ctx context.Context, by Cause, whole bool) error
	// StopScrub stops the round until the scrub is started, and keeps the next one from beginning.
	StopScrub(ctx context.Context, by Cause) error
	// ClaimScrub gives a running scrub to a worker for the time of hold, unless another one has it,
	// and reports whether it did. It begins a round if the last whole one is older than interval,
	// which is never for 0.
	ClaimScrub(ctx context.Context, worker uuid.UUID, interval, hold time.Duration) (Scrub, bool, error)
	// AdvanceScrub records how far the worker is in the round that it claimed, and holds it for
	// longer; end ends the round. It returns false if the worker has it no longer: it stops.
	AdvanceScrub(ctx context.Context, worker uuid.UUID, s Scrub, hold time.Duration, end bool) (bool, error)

	// ReportDamage makes the blob suspect, unless it has another object by now, with an event of its
	// tenant once for the object. It reports whether this was news.
	ReportDamage(ctx context.Context, by Cause, d Damaged) (bool, error)
	// ClearDamage takes back that the blob is suspect, unless it has another object by now: its
	// object is as it must be. If it was reported, there is an event.
	ClearDamage(ctx context.Context, by Cause, b Blob) error
	// ListSuspects lists up to limit objects whose blobs were made suspect by a read, and that were
	// not reported, in the order of their keys.
	ListSuspects(ctx context.Context, after blob.Key, limit int) ([]ObjectRow, error)
	// ListDamaged lists up to limit damaged blobs that were reported and are not repaired, in the
	// order of their keys.
	ListDamaged(ctx context.Context, after blob.Key, limit int) ([]Damaged, error)
	// CountDamaged counts them by the damage.
	CountDamaged(ctx context.Context) (map[Damage]int64, error)
	// ListCopies lists up to limit cached copies of a blob.
	ListCopies(ctx context.Context, t tenant.ID, d oci.Digest, limit int) ([]CachedCopy, error)
}
