package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Session is a login of a browser at the admin API. Only the SHA-256 of its secret is kept.
type Session struct {
	SessionOwner
	Name         string // generated; unique for the owner
	Hash         [32]byte
	Key          string // the name of the key or token that it was made with, and ends with; empty = a password
	UserAgent    string // as the browser said, clipped
	CreatedAt    time.Time
	CreatedFrom  string // the browser's address
	LastUsedAt   time.Time
	LastUsedFrom string
	EndsAt       time.Time // unless it is used before
}

// SessionOwner is whose a session is.
type SessionOwner struct {
	Tenant  tenant.ID // Deployment of an operator's
	Account int64     // the ID of the account or of the operator; 0 = the operator token of the configuration
	Actor   string    // "users/alice", "operators/alice", "operator"
}

// Limits of sessions.
const (
	MaxSessions = 100           // of an owner; the one that was used least recently ends
	SessionUse  = time.Minute   // how exact LastUsedAt is
	SessionIdle = 8 * time.Hour // a session ends when it was not used for so long
	SessionLife = 7 * 24 * time.Hour
)

// Sessions keeps sessions. Those of a password end when it changes, but for the one that
// changes it (Cause.Session); all end when their owner is disabled or deleted, or the
// account's tokens are revoked, or its tenant is deleted. Absence is fault.ResourceUnknown.
type Sessions interface {
	// CreateSession keeps a session of an owner that was found by a secret, when the account,
	// if it is one, had this epoch.
	CreateSession(ctx context.Context, by Cause, s Session, epoch int64) error
	// FindAccountSession finds the session with this hash, and the enabled account, of an
	// active tenant, that has it.
	FindAccountSession(ctx context.Context, hash [32]byte) (Login, Session, error)
	// FindOperatorSession finds the session with this hash of an enabled operator, or of the
	// operator token of the configuration. Whether that is still the same, the caller decides.
	FindOperatorSession(ctx context.Context, hash [32]byte) (Session, error)
	// UseSession notes that a session was used. A use within SessionUse after the last one
	// changes nothing.
	UseSession(ctx context.Context, s Session, address string) error

	ListSessions(ctx context.Context, o SessionOwner) ([]Session, error)
	DeleteSession(ctx context.Context, by Cause, o SessionOwner, name string) error
	// DeleteSessions ends all of an owner.
	DeleteSessions(ctx context.Context, by Cause, o SessionOwner) error
}
