// Package admin is the service that provisions tenants and what they own, over
// gRPC and, by a gateway in front of it, over REST.
package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/keyuse"
	"github.com/berth-registry/berth/services/internal/policy"
)

// Store is what the service needs of a meta.Store.
type Store interface {
	meta.Provisioning
	meta.Repositories
	meta.DeletedRepositories
	meta.Events
	meta.CachePurger
	meta.VerifyKeys
	meta.ClaimFinder
	meta.TagHistory
	meta.Trash
	meta.Scrubs
	meta.Purges
	meta.ContentSizes
	meta.Search

	// UsagePeriods is that of meta.UsageHours.
	UsagePeriods(ctx context.Context, t tenant.ID, q meta.UsageQuery) ([]meta.UsagePeriod, error)

	// RecountHosted is that of meta.Quotas.
	RecountHosted(ctx context.Context, by meta.Cause, id tenant.ID) error

	// These are of meta.WebhookDeliveries.
	FindDelivery(ctx context.Context, w meta.Webhook, id int64) (meta.Delivery, error)
	DeliveriesBetween(ctx context.Context, w meta.Webhook, state meta.DeliveryState, b meta.Between[int64]) ([]meta.Delivery, error)
	Redeliver(ctx context.Context, by meta.Cause, w meta.Webhook, id int64) (meta.Delivery, error)

	// These are of meta.HostedPulls.
	RetentionContent(ctx context.Context, r meta.Repo) (retention.Content, error)
	FindPullAccounting(ctx context.Context) (meta.PullAccounting, error)

	// Both are those of meta.Tags.
	TagsBetween(ctx context.Context, r meta.Repo, b meta.Between[string]) ([]string, error)
	DeleteTag(ctx context.Context, by meta.Cause, r meta.Repo, tag string) error
}

// Config is what a Service is made of.
type Config struct {
	Store         Store
	Pattern       tenant.Pattern
	OperatorToken string           // never empty: there is no open admin API
	PageKey       []byte           // authenticates page tokens; the same on every node
	Passwords     *password.Hasher // of users; nil: one of its own
	Logins        Logins           // check the passwords of users; nil: users change none, and no browser logs in by one
	Issuers       Issuers          // log in people at issuers; nil: no browser does
	LoginURL      string           // of this API, as browsers reach it; empty: any that a browser asks
	LoginKeys     *seal.Keyring    // seal what a browser keeps during a login; the same on every node
	Uses          *keyuse.Uses     // of keys; nil: they are not noted
	Secrets       *seal.Keyring    // of passwords of upstreams; nil: none can be kept
	Chains        Chains
	Promotions    Promotions
	Trust         *policy.Trust  // of signatures by identities
	Backups       Backups        // nil: this deployment is backed up by other means
	Resolver      *net.Resolver  // looks up verification records; nil means the system's
	Lifetimes     meta.Lifetimes // those of the store
	Limits        meta.Limits    // those of the store

	// OwnHostsOnly says that a registry answers at its verified domains alone, and
	// not by its name below the base domain; nil: none is like that.
	OwnHostsOnly func(tenantSlug, registry string, domains []string) bool
}

// Service answers the calls of the admin API. Its methods trust the caller that
// authentication put into the context and expect access to have been decided:
// Server does both. It is safe for concurrent use.
type Service struct {
	store      Store
	pattern    tenant.Pattern
	own        func(tenantSlug, registry string, domains []string) bool
	operator   [sha256.Size]byte
	pages      pageTokens
	resolver   *net.Resolver
	secrets    *seal.Keyring
	passwords  *password.Hasher
	logins     Logins
	issuers    Issuers
	loginURL   string
	loginKeys  *seal.Keyring
	uses       *keyuse.Uses
	chains     Chains
	promotions Promotions
	trust      *policy.Trust
	backups    Backups
	changes    *limit.Local               // of accounts to what is their own
	turns      *fairgate.Gate[netip.Addr] // of logins by password
	issuing    *fairgate.Gate[netip.Addr] // of logins at issuers
	atIssuer   *fairgate.Gate[int64]      // of those at one provider
	unproven   *limit.Local               // logins at issuers that were refused
	begun      *limit.Local               // logins of devices
	asked      *devicePace                // whether those have ended
	tests      *fairgate.Gate[tenant.ID]  // of TestAccess
	promoting  *fairgate.Gate[tenant.ID]  // of PromoteImage

	undelete, quarantine time.Duration // as meta.Lifetimes has them
	limits               meta.Limits
}

var _ pb.AdminServiceServer = (*Service)(nil)

// minPageKey is the least length of a Config.PageKey in bytes.
const minPageKey = 16

// New makes a Service. It fails on an empty operator token or a short page key.
func New(c Config) (*Service, error) {
	if c.OperatorToken == "" {
		return nil, errors.New("the admin API needs an operator token")
	}
	if len(c.PageKey) < minPageKey {
		return nil, errors.New("the admin API needs a page key of 16 bytes or more")
	}
	resolver := c.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	if c.Secrets == nil {
		c.Secrets = &seal.Keyring{}
	}
	if c.Passwords == nil {
		c.Passwords = password.New(password.DefaultCost)
	}
	return &Service{
		store:      c.Store,
		pattern:    c.Pattern,
		own:        c.OwnHostsOnly,
		operator:   sha256.Sum256([]byte(c.OperatorToken)),
		pages:      pageTokens{key: c.PageKey},
		resolver:   resolver,
		secrets:    c.Secrets,
		passwords:  c.Passwords,
		logins:     c.Logins,
		issuers:    c.Issuers,
		loginURL:   c.LoginURL,
		loginKeys:  c.LoginKeys,
		changes:    limit.NewLocal(maxOwnChanges, ownChangesPeriod),
		turns:      fairgate.New[netip.Addr](fairgate.Options{Capacity: loginsAtOnce, MaxWaiting: loginsWaiting}),
		issuing:    newIssuing(),
		atIssuer:   newAtIssuer(),
		unproven:   limit.NewLocal(maxRefusedLogins, refusedLoginsPeriod),
		begun:      limit.NewLocal(maxDeviceLogins, deviceLoginsPeriod),
		asked:      newDevicePace(),
		uses:       c.Uses,
		chains:     c.Chains,
		promotions: c.Promotions,
		trust:      c.Trust,
		backups:    c.Backups,
		tests:      newTestGate(),
		promoting:  newPromotionGate(),

		undelete:   c.Lifetimes.Undelete,
		quarantine: c.Lifetimes.Quarantine,
		limits:     c.Limits.WithDefaults(),
	}, nil
}

// cause is who makes the change this call makes, for the audit log.
func cause(ctx context.Context) meta.Cause {
	return meta.Cause{
		Op: uuid.New(), Actor: callerOf(ctx).actor(), OnBehalf: onBehalf(ctx),
		RequestID: requestID(ctx), Address: clientAddress(ctx), UserAgent: userAgent(ctx),
		Session: callerOf(ctx).session,
	}
}

// onBehalf is the tenant where an operator acts in one.
func onBehalf(ctx context.Context) string {
	known, _ := ctx.Value(tenantKey{}).(*meta.Tenant)
	if known == nil || known.ID == 0 || !callerOf(ctx).operator {
		return ""
	}
	return "tenants/" + known.Slug
}

// caused is the cause of an update, with what it changes.
func caused(ctx context.Context, before, after proto.Message) meta.Cause {
	by := cause(ctx)
	by.Changes = changesOf(before, after)
	return by
}

// causedBy is the cause of a mutation that changes one thing.
func causedBy(ctx context.Context, field, before, after string) meta.Cause {
	by := cause(ctx)
	by.Changes = []meta.Change{{Field: field, Old: shortened(before), New: shortened(after)}}
	return by
}

// The states of what is restored, for the audit log.
const (
	stateDeleted = "DELETED"
	stateActive  = "ACTIVE"
)

// creating is the cause of a creation, with what is set.
func creating(ctx context.Context, m message) meta.Cause {
	by := caused(ctx, m.ProtoReflect().New().Interface(), m)
	if len(by.Changes) == 0 {
		by.Changes = []meta.Change{{Field: "name", New: m.GetName()}}
	}
	return by
}

// deleting is the cause of a deletion, with what was set.
func deleting(ctx context.Context, m message) meta.Cause {
	by := caused(ctx, m, m.ProtoReflect().New().Interface())
	if len(by.Changes) == 0 {
		by.Changes = []meta.Change{{Field: "name", Old: m.GetName()}}
	}
	return by
}
