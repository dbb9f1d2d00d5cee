package meta

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Event is one row of the audit log.
type Event struct {
	ID        int64
	Tenant    tenant.ID
	At        time.Time
	Actor     string
	Verb      string // "manifest.put", "tag.delete", "registry.create", …
	Target    string // "registries/dev/repositories/app", with tag or digest
	RequestID string
	Address   string // of the client; empty where it is not known
	Changes   string // what an update changed, for DecodeChanges
	Times     int64  // occurrences within its minute; 1 except for refusals
}

// Change is one field of a resource that an update changed. It has no secrets, and
// values are clipped.
type Change struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
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
	// EventsBetween returns a part of the audit log by id.
	EventsBetween(ctx context.Context, t tenant.ID, b Between[int64]) ([]Event, error)
}
