package token

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/workload"
	"github.com/berth-registry/berth/services/internal/audit"
	"github.com/berth-registry/berth/services/internal/keyuse"
)

// How many failed logins an account, or an address at one tenant, may have in a
// period.
const (
	MaxFailures   = 10
	FailurePeriod = time.Minute
)

// Authenticator checks names and secrets, for the token endpoint and for Basic
// authorization on the data port. It is safe for concurrent use.
type Authenticator struct {
	accounts login.Both
	jobs     *workload.Authenticator // nil: tokens of jobs are not taken
	failures limit.Failures
	recent   *lru.Cache[loginFrom, proven]
	key      [sha256.Size]byte // of the hashes in recent
	refusals *audit.Refusals
	uses     *keyuse.Uses
	people   login.Authenticator // nil: no one has a password at an identity provider
}

// loginFrom is an account and the address it was used from.
type loginFrom struct{ account, address limit.Key }

// proven is the last valid secret of an account at an address.
type proven struct {
	secret [sha256.Size]byte // by Authenticator.hash
	of     string            // login.Identity.Proof: the hash that it is the password of
}

// maxRecent is how many logins are remembered.
const maxRecent = 16384

// NewAuthenticator makes an Authenticator that refuses logins after too many
// failures.
func NewAuthenticator(a login.Accounts, h *password.Hasher, f limit.Failures) *Authenticator {
	good, err := lru.New[loginFrom, proven](maxRecent)
	if err != nil {
		panic(err) // only for a size below 1
	}
	made := &Authenticator{accounts: login.Both{Passwords: login.Passwords{Accounts: a, Hasher: h}}, failures: f, recent: good}
	_, _ = rand.Read(made.key[:]) // never fails: crypto/rand
	return made
}

// Authenticate returns the account of the site's tenant with this name and secret: a
// service account, also by the token of a job that it trusts, or a user, also a person of an
// identity provider. Any mismatch is fault.UnauthorizedReason, with the same message (contract
// row B10). After too many failures of the account, or from the client's address at this tenant,
// it is fault.TooManyRequests, even with the right secret. But failures of others do not lock an
// account out of the addresses that it was used from, and a secret that was valid there is not
// counted (contract row S55). A failure is in the access log and a metric.
func (a *Authenticator) Authenticate(ctx context.Context, s tenant.Site, name, secret string) (access.Principal, error) {
	return a.answer(ctx, s, name, secret)
}

// AuthenticateAtAnyTenant is Authenticate for clients that name the tenant themselves: failures
// of an address at all tenants count together, too. Else it could have many passwords compared,
// at tenants that it makes up.
func (a *Authenticator) AuthenticateAtAnyTenant(ctx context.Context, s tenant.Site, name, secret string) (access.Principal, error) {
	return a.answer(ctx, s, name, secret, addressKey(meta.Deployment, web.ClientAddr(ctx)))
}

func (a *Authenticator) answer(ctx context.Context, s tenant.Site, name, secret string, also ...limit.Key) (access.Principal, error) {
	p, err := a.authenticate(ctx, s, name, secret, also)
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

// WithRefusals counts refused logins in r, for the audit log.
func (a *Authenticator) WithRefusals(r *audit.Refusals) *Authenticator {
	a.refusals = r
	return a
}

// WithUses notes in u which keys are used.
func (a *Authenticator) WithUses(u *keyuse.Uses) *Authenticator {
	a.uses = u
	return a
}

// WithPeople also asks p for names and secrets that are of no account here.
func (a *Authenticator) WithPeople(p login.Authenticator) *Authenticator {
	a.people = p
	return a
}

// WithJobs also takes the tokens of jobs, by j.
func (a *Authenticator) WithJobs(j *workload.Authenticator) *Authenticator {
	a.jobs = j
	return a
}

// countRefusal counts a login at a tenant that does not exist for the deployment.
func (a *Authenticator) countRefusal(ctx context.Context, s tenant.Site, tried string) {
	a.refusals.Add(meta.Refusal{Tenant: max(s.Tenant, meta.Deployment), Login: true, Actor: tried, Address: web.AddrText(web.ClientAddr(ctx)), UserAgent: web.UserAgent(ctx)})
}

// loggableName is the name of a failed login for the log. People paste secrets and type
// passwords into the name: unless it can be an account name, only its length is logged.
func loggableName(name, secret string) string {
	if name != secret && tenant.CheckSlug(name) == nil {
		return name
	}
	return fmt.Sprintf("(%d characters, not a valid account name)", len(name))
}

// authenticate counts failures by the account, by the address at this tenant, and by what else
// is given.
func (a *Authenticator) authenticate(ctx context.Context, s tenant.Site, name, secret string, also []limit.Key) (access.Principal, error) {
	from := web.ClientAddr(ctx)
	used := loginFrom{accountKey(s.Tenant, name), addressKey(s.Tenant, from)}
	limited := append(also, used.address)
	checked := limited
	last, known := a.recent.Get(used)
	same := known && last.secret == a.hash(secret)
	if !a.isJob(secret) { // a signature cannot be guessed, and who sends wrong ones keeps no job out
		limited = append(limited, used.account)
	}
	switch {
	case same:
		checked = nil
	case !known:
		checked = limited
	}
	for _, k := range checked {
		if err := a.failures.Check(ctx, k); err != nil {
			return access.Principal{}, err
		}
	}
	attempt := login.Attempt{Tenant: s.Tenant, Name: name, Secret: secret, Address: from, TenantSlug: s.TenantSlug, Host: s.Host}
	id, err := a.find(ctx, s, attempt, func(hash string) bool { return same && last.of == hash })
	switch {
	case err == nil:
		a.recent.Add(used, proven{a.hash(secret), id.Proof})
		a.uses.Add(meta.Login{Account: meta.Account{Tenant: s.Tenant, ID: id.Principal.ID}, Key: id.Key}, from)
		if id.Job != "" {
			web.AddLogAttrs(ctx, slog.String("job", id.Job))
		}
		return id.Principal, nil
	case !fault.Is(err, fault.ResourceUnknown):
		return access.Principal{}, err
	}
	if why := workload.Why(err); why != "" {
		web.AddLogAttrs(ctx, slog.String("job_refused", why))
	}
	if same { // it is not valid any more: the next try counts like another's
		a.recent.Add(used, proven{})
	}
	for _, k := range limited {
		if err := a.failures.Add(ctx, k); err != nil {
			return access.Principal{}, err
		}
	}
	message := "the name or the secret is wrong"
	if s.NoPasswords {
		message += "; this tenant takes keys and access tokens only, not passwords"
	}
	return access.Principal{}, fault.Wrap(err, fault.Unauthenticated, fault.UnauthorizedReason, "%s", message)
}

// isJob reports whether a secret is taken for the token of a job.
func (a *Authenticator) isJob(secret string) bool { return a.jobs != nil && workload.IsToken(secret) }

// find asks each that may know the attempt. A job's token is compared with no password, here or
// in a directory. A person's token for all tenants is of no account, and no password.
func (a *Authenticator) find(ctx context.Context, s tenant.Site, at login.Attempt, proven func(hash string) bool) (login.Identity, error) {
	if a.isJob(at.Secret) {
		return a.jobs.Authenticate(ctx, at)
	}
	if a.people != nil && strings.HasPrefix(at.Secret, password.PersonPrefix) {
		return a.people.Authenticate(ctx, at)
	}
	accounts := a.accounts
	accounts.NoPasswords = s.NoPasswords
	accounts.Proven = func(_ login.Attempt, hash string) bool { return proven(hash) }
	id, err := accounts.Authenticate(ctx, at)
	if fault.Is(err, fault.ResourceUnknown) && a.people != nil && !s.NoPasswords {
		return a.people.Authenticate(ctx, at)
	}
	return id, err
}
