package meta

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/tenant"
)

// MirrorHost is a host whose name is a secret: engines pull by it without a credential.
type MirrorHost struct {
	Tenant      tenant.ID
	Slug        string
	Registry    string // slug of the registry whose settings of transport count
	Upstream    string // slug of what it answers for; empty for a group
	Group       string // slug of what it answers for; empty for an upstream
	CachedOnly  bool
	Networks    tenant.Networks
	DisplayName string
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
	ExpiresAt   time.Time // of its name
	OldUntil    time.Time // of the name before; zero for none
	UsedAt      time.Time // zero = not yet
	UsedFrom    string
}

// MirrorName is another name of a mirror host.
type MirrorName struct {
	Hash      [32]byte // tenant.MirrorHash of its label
	ExpiresAt time.Time
}

// MirrorUse counts what a mirror host served to a client in an hour.
type MirrorUse struct {
	Tenant  tenant.ID
	Slug    string
	Address string // empty where there are too many
	Hour    time.Time
}

// Op is the same for all uses of a host in an hour.
func (u MirrorUse) Op() uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "mirror host %d %q %d", u.Tenant, u.Slug, u.Hour.Unix()))
}

// MaxMirrorAddresses is how many addresses of clients are remembered for a mirror host. The
// first use from another one is no event.
const MaxMirrorAddresses = 256

// MirrorHosts keeps mirror hosts; absence is fault.ResourceUnknown. An unknown registry,
// upstream or group is fault.ResourceUnknown of kind Invalid, with its Field. What a mirror
// host names is not deleted: fault.InUse.
type MirrorHosts interface {
	CreateMirrorHost(ctx context.Context, by Cause, h MirrorHost, name MirrorName) (MirrorHost, error)
	FindMirrorHost(ctx context.Context, t tenant.ID, slug string) (MirrorHost, error)
	// ListMirrorHosts pages by slug.
	ListMirrorHosts(ctx context.Context, t tenant.ID, p Page) ([]MirrorHost, error)
	// UpdateMirrorHost changes all but the names; Version as in UpdateTenant.
	UpdateMirrorHost(ctx context.Context, by Cause, h MirrorHost) (MirrorHost, error)
	// RotateMirrorHost gives the host another name. The one before ends at until, unless it
	// ends earlier; one before that ends now.
	RotateMirrorHost(ctx context.Context, by Cause, t tenant.ID, slug string, version int64, name MirrorName, until time.Time) (MirrorHost, error)
	DeleteMirrorHost(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
	// RecordMirrorUses adds uses and their counts to the audit log: each host has one event
	// for an hour, and one for the first use from an address. Uses of deleted hosts are left
	// out. A repeated call counts them again.
	RecordMirrorUses(ctx context.Context, uses map[MirrorUse]int64) error
}
