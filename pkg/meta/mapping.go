package meta

import (
	"context"
	"crypto/sha256"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Mapping says what is made for groups of an identity provider: a registry, a group of accounts
// with the people of that group, and an access rule for it. Templates have the texts of named
// groups of Pattern for their names in braces.
type Mapping struct {
	Pattern      string   `json:"pattern"`                // RE2, of a whole name
	Tenant       string   `json:"tenant,omitempty"`       // template; empty: the tenant where the person logs in
	Registry     string   `json:"registry"`               // template
	Group        string   `json:"group"`                  // template, also of the rule's ID
	Actions      string   `json:"actions"`                // as access.Actions.String writes them, read by access.RuleActions
	Repositories []string `json:"repositories,omitempty"` // patterns; empty = all
}

// Hash identifies a mapping by what it says.
func (m Mapping) Hash() [sha256.Size]byte {
	text, _ := json.Marshal(m) // never fails: texts
	return sha256.Sum256(text)
}

// MappedGroup is a group of a provider to which a mapping was applied.
type MappedGroup struct {
	Provider IdentityProvider
	In       tenant.ID // of the person; Deployment for a mapping that names tenants
	Mapping  [sha256.Size]byte
	Group    string
	Skipped  string // why nothing was made; empty: it was
}

// Mappings keeps what mappings made. It ends with the provider, or the tenant.
type Mappings interface {
	// IsMapped reports whether a mapping was applied to a group before.
	IsMapped(ctx context.Context, g MappedGroup) (bool, error)
	// RecordMapped notes that it was. Where it was skipped, that is an event of In.
	RecordMapped(ctx context.Context, by Cause, g MappedGroup) error
	// RecordMade notes that a mapping of the provider made a registry, or with 0 a tenant.
	RecordMade(ctx context.Context, provider int64, t tenant.ID, r tenant.RegistryID) error
	// WasMade reports whether one did.
	WasMade(ctx context.Context, provider int64, t tenant.ID, r tenant.RegistryID) (bool, error)
}
