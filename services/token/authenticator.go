package token

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/audit"
)

// How many failed logins an account, and an address at one tenant, may have in a
// period.
const (
	MaxFailures   = 10
	FailurePeriod = time.Minute
)

// Authenticator checks names and secrets, for the token endpoint and for Basic
// authorization on the data port alike. Safe for concurrent use.
type Authenticator struct {
	accounts meta.AccountFinder
	failures limit.Failures
	recent   *lru.Cache[login, [sha256.Size]byte] // the hash of the secret that was good last
	refusals *audit.Refusals
}

// login is an account that was used from an address.
type login struct{ account, address limit.Key }

// maxRecent is how many of them are remembered.
const maxRecent = 16384

// NewAuthenticator makes an Authenticator that stops asking accounts after too
// many failures.
func NewAuthenticator(a meta.AccountFinder, f limit.Failures) *Authenticator {
	good, err := lru.New[login, [sha256.Size]byte](maxRecent)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Authenticator{accounts: a, failures: f, recent: good}
}

// Authenticate returns the service account of the site's tenant that has this
// name and secret. Whatever is wrong with them is fault.UnauthorizedReason, with
// one and the same message, by one and the same path (contract row B10). After
// too many failures of the account, or from the client's address at this tenant,
// it is fault.TooManyRequests, whether or not the secret is right; but what others
// fail at does not lock an account out of the addresses that it was used from, and
// a secret that was good from there is not counted at all (contract row S55).
// The access line and a metric tell of a failure.
func (a *Authenticator) Authenticate(ctx context.Context, s tenant.Site, name, secret string) (access.Principal, error) {
	p, err := a.authenticate(ctx, s, name, secret)
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		web.SetLoginFailed(ctx, web.WrongCredential, loggableName(name, secret))
		a.countRefusal(ctx, s, loggableName(name, secret))
	case fault.TooMany:
		web.SetLoginFailed(ctx, web.TooManyFailures, loggableName(name, secret))
		a.countRefusal(ctx, s, loggableName(name, secret))
	}
	return p, err
}

// WithRefusals has refused logins counted for the audit log.
func (a *Authenticator) WithRefusals(r *audit.Refusals) *Authenticator {
	a.refusals = r
	return a
}

func (a *Authenticator) countRefusal(ctx context.Context, s tenant.Site, tried string) {
	address := ""
	if at := web.ClientAddr(ctx); at.IsValid() {
		address = at.Unmap().String()
	}
	a.refusals.Add(meta.Refusal{Tenant: s.Tenant, Login: true, Actor: tried, Address: address})
}

// minSecret is fewer characters than any secret of a deployment has.
const minSecret = 20

// loggableName is the name of a failed login as the log may hold it. People paste
// secrets where the name belongs: what is neither the name of an account nor
// too short for a secret is told by its length only.
func loggableName(name, secret string) string {
	if name != secret && (tenant.CheckSlug(name) == nil || len(name) < minSecret) {
		return name
	}
	return fmt.Sprintf("(%d characters, not a valid account name)", len(name))
}

func (a *Authenticator) authenticate(ctx context.Context, s tenant.Site, name, secret string) (access.Principal, error) {
	used := login{accountKey(s.Tenant, name), addressKey(s.Tenant, web.ClientAddr(ctx))}
	hash := sha256.Sum256([]byte(secret))
	limited := [...]limit.Key{used.address, used.account}
	checked := limited[:]
	if last, known := a.recent.Get(used); known {
		checked = limited[:1]
		if last == hash {
			checked = nil
		}
	}
	for _, k := range checked {
		if err := a.failures.Check(ctx, k); err != nil {
			return access.Principal{}, err
		}
	}
	account, err := a.find(ctx, s.Tenant, name, hash)
	switch {
	case err == nil:
		a.recent.Add(used, hash)
		return access.ServiceAccount(account.Tenant, account.Slug, account.Role), nil
	case !fault.Is(err, fault.ResourceUnknown):
		return access.Principal{}, err
	}
	for _, k := range limited {
		if err := a.failures.Add(ctx, k); err != nil {
			return access.Principal{}, err
		}
	}
	return access.Principal{}, fault.Wrap(err, fault.Unauthenticated, fault.UnauthorizedReason, "the name or the secret is wrong")
}

func (a *Authenticator) find(ctx context.Context, t tenant.ID, name string, hash [sha256.Size]byte) (meta.Account, error) {
	if name == "" { // means any account to the store
		return meta.Account{}, fault.New(fault.NotFound, fault.ResourceUnknown, "no name was given")
	}
	return a.accounts.FindAccountByKey(ctx, t, name, hash)
}

// accountKey counts all names that no account can have as one: they are as
// long as clients please.
func accountKey(t tenant.ID, name string) limit.Key {
	if tenant.CheckSlug(name) != nil {
		name = ""
	}
	return limit.Key{Kind: "account", Tenant: t, Name: name}
}

// addressKey counts the network that one IPv6 client has as one address, for each
// tenant apart: the clients of many share a NAT, and one of them must not lock the
// others out.
func addressKey(t tenant.ID, a netip.Addr) limit.Key {
	a = a.Unmap()
	if !a.Is6() {
		return limit.Key{Kind: "address", Tenant: t, Name: a.String()}
	}
	network := netip.PrefixFrom(a.WithZone(""), 64).Masked()
	return limit.Key{Kind: "address", Tenant: t, Name: network.String()}
}
