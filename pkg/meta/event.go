package meta

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Deployment is whose log has what operators do outside of tenants, and to tenants as
// a whole: as if it was a tenant's, of an ID that no tenant has.
const Deployment tenant.ID = 0

// What is done to the deployment, as verbs of events.
const (
	BackupCreated   = "backup.create"
	BackupDeleted   = "backup.delete"
	SecretsResealed = "secrets.reseal"
	KeysRotated     = "signingKeys.rotate"
	StartedScrub    = "scrub.start"
	RebuiltSearch   = "search.rebuild"
	RecountedUsage  = "usage.recount" // of a tenant
	StoppedScrub    = "scrub.stop"
)

// ScrubTarget is the target of events of the scrub.
const ScrubTarget = "scrub"

// What was found of the object of a blob, as verbs of events of its tenant.
const (
	BlobLost      = "blob.lost"
	BlobRotten    = "blob.rotten"
	BlobRecovered = "blob.recover"
)

// The verbs of events of a purge: of the purge, and of each manifest that it ends.
const (
	DigestPurged   = "digest.purge"
	ManifestPurged = "manifest.purge"
)

// The verbs of events of a put.
const (
	manifestPut       = "manifest.put"
	manifestUndeleted = "manifest.undelete"
	manifestPromoted  = "manifest.promote"
)

// EventVerb is the verb of the event of the put.
func (p ManifestPut) EventVerb() string {
	switch {
	case p.Undelete:
		return manifestUndeleted
	case p.Verb == TagPromoted:
		return manifestPromoted
	default:
		return manifestPut
	}
}

// The verbs of events that Berth itself makes of webhooks. No webhook gets them, so that none
// can cause another.
const (
	WebhookGone    = "webhook.disable"
	WebhookDropped = "webhook.drop"
)

// PrefetchRan is the verb of the event of a run of a prefetch that has ended.
const PrefetchRan = "prefetch.run"

// PrefetchTarget is the target of events of a prefetch, and the actor of those of its runs.
func PrefetchTarget(slug string) string { return "prefetches/" + slug }

// RetentionRan is the verb of the event of a run of a retention policy that has ended.
const RetentionRan = "retentionPolicy.run"

// RetentionPolicyTarget is the target of events of a retention policy, and the actor of
// those of its deletions.
func RetentionPolicyTarget(slug string) string { return "retentionPolicies/" + slug }

// DigestTarget is the target of events of a digest in all repositories of a tenant.
func DigestTarget(d oci.Digest) string { return "digests/" + d.String() }

// BlobTarget is the target of events of a blob in all repositories of a tenant.
func BlobTarget(d oci.Digest) string { return "blobs/" + d.String() }

// Event is one row of the audit log.
type Event struct {
	ID        int64
	Tenant    tenant.ID
	At        time.Time
	Actor     string
	OnBehalf  string // of whom the actor did it; empty for itself
	Verb      string // "manifest.put", "tag.delete", "registry.create", …
	Target    string // "registries/dev/repositories/app", with tag or digest
	RequestID string
	Address   string // of the client; empty where it is not known
	UserAgent string // as the client said, clipped
	Changes   string // what it set, changed or took away, for DecodeChanges
	Times     int64  // occurrences within its minute; 1 except for refusals
}

// Change is one field of a resource, or one tag, that a mutation set, changed or took
// away: Old is empty where it was not there, New where it is gone. It has no secrets,
// and values are clipped.
type Change struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

// MaxChanges is how many changes an event tells of.
const MaxChanges = 32

// TagMoves are the changes of tags that one mutation makes.
type TagMoves struct{ Changes []Change }

// Add adds a tag that pointed to old, and from now on to another manifest; to none, if
// now is empty. A tag that was not there, or stays, is not a move.
func (m *TagMoves) Add(tag string, old, now oci.Digest) {
	if old != "" && old != now && len(m.Changes) < MaxChanges {
		m.Changes = append(m.Changes, Change{Field: "tag " + tag, Old: old.String(), New: now.String()})
	}
}

// AddGone adds the tags that go with a manifest: names, of which one more than MaxChanges
// says that there are others.
func (m *TagMoves) AddGone(names []string, manifest oci.Digest) {
	told := slices.Sorted(slices.Values(names))
	if len(told) > MaxChanges {
		told = told[:MaxChanges-1]
	}
	for _, name := range told {
		m.Changes = append(m.Changes, Change{Field: "tag " + name, Old: manifest.String()})
	}
	if len(told) < len(names) {
		m.Changes = append(m.Changes, Change{Field: "tags", Old: "(others)"})
	}
}

// EncodeChanges encodes changes for storage; empty for none.
func EncodeChanges(changes []Change) string {
	if len(changes) == 0 {
		return ""
	}
	text, err := json.Marshal(changes)
	if err != nil {
		return "" // strings alone: it cannot fail
	}
	return string(text)
}

// DecodeChanges is the inverse of EncodeChanges.
func DecodeChanges(text string) ([]Change, error) {
	if text == "" {
		return nil, nil
	}
	var changes []Change
	err := json.Unmarshal([]byte(text), &changes)
	return changes, err
}

// Refusal counts refused requests of one caller of a tenant within a minute:
// logins, or calls without the right to make them.
type Refusal struct {
	Tenant  tenant.ID
	Login   bool // else a call
	Actor   string
	Address string
	Target  string // the requested resource; empty for a login
	Minute  time.Time

	UserAgent string // that of one of them; it does not make a refusal another
}

// Op is the same for all refusals that one event counts.
func (r Refusal) Op() uuid.UUID {
	key := fmt.Sprintf("%d %t %q %q %q %d", r.Tenant, r.Login, r.Actor, r.Address, r.Target, r.Minute.Unix())
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(key))
}

// Events reads the audit log; the mutations write it.
type Events interface {
	// ListEvents pages newest first; Page.After is the id of the last event
	// seen, in decimal.
	ListEvents(ctx context.Context, t tenant.ID, p Page) ([]Event, error)
	// RecordRefusals adds refusals and their counts to the audit log. A repeated call
	// counts them again.
	RecordRefusals(ctx context.Context, refusals map[Refusal]int64) error
	// RecordEvent records what is done to the deployment, and changes no row.
	RecordEvent(ctx context.Context, by Cause, verb, target string) error
	// EventsBetween returns a part of the audit log by id.
	EventsBetween(ctx context.Context, t tenant.ID, b Between[int64]) ([]Event, error)
}
