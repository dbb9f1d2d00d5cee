// Package workload logs jobs in: as a service account that trusts the issuer of the job's
// token, such as GitHub Actions or a Kubernetes cluster, under a condition on its claims.
//
// Only issuers that the account trusts are asked for their keys. One that does not answer is
// an outage, and says nothing about the token.
package workload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// maxCompiled is how many bytes compiled conditions of all tenants may take.
const maxCompiled = 64 << 20

// Config is what an Authenticator is made of.
type Config struct {
	Trusts meta.TrustFinder
	Named  func(tenantSlug string) http.RoundTripper // the way to issuers that trusts of the tenant name
	Led    http.RoundTripper                         // the way to hosts that issuers name
	Now    func() time.Time                          // nil: time.Now
}

// Authenticator finds the service account of a job's token. It is safe for concurrent use.
type Authenticator struct {
	trusts     meta.TrustFinder
	keys       *keySets
	now        func() time.Time
	conditions *fairCache[string, *Condition] // by their text
}

var _ login.Authenticator = (*Authenticator)(nil)

// New makes an Authenticator.
func New(c Config) *Authenticator {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Authenticator{
		trusts: c.Trusts, now: c.Now, conditions: newFairCache[string](maxCompiled, func(c *Condition) int { return c.bytes }),
		keys: newKeySets(discovery{named: c.Named, led: c.Led}.keys, c.Now),
	}
}

// Provider implements login.Authenticator: a job is the service account that it logs in as.
func (*Authenticator) Provider() string { return login.Local }

// Authenticate implements login.Authenticator. The secret is the token. The cause of a
// refusal, for operators, is in the error's chain.
func (a *Authenticator) Authenticate(ctx context.Context, at login.Attempt) (login.Identity, error) {
	if at.Host == "" {
		return login.Identity{}, unknown("jobs log in at registries alone")
	}
	t, err := parse(at.Secret)
	if err != nil {
		return login.Identity{}, unknown("not a token: %w", err)
	}
	if tenant.CheckSlug(at.Name) != nil {
		return login.Identity{}, unknown("the name cannot be that of an account")
	}
	trusts, err := a.trusts.FindTrusts(ctx, at.Tenant, at.Name, t.issuer)
	if err != nil {
		return login.Identity{}, err
	}
	if len(trusts) == 0 {
		return login.Identity{}, unknown("no trust in the issuer %.200q", t.issuer)
	}
	key, err := a.keys.find(ctx, issuer{at.TenantSlug, t.issuer}, t.kid)
	if errors.Is(err, errNoKey) {
		return login.Identity{}, unknown("key %.100q: %w", t.kid, err)
	}
	if err != nil {
		return login.Identity{}, err
	}
	c, err := t.verify(key, a.now())
	if err != nil {
		return login.Identity{}, unknown("%w", err)
	}
	return a.match(ctx, at, trusts, c)
}

// match finds the first trust that takes the claims.
func (a *Authenticator) match(ctx context.Context, at login.Attempt, trusts []meta.TrustedAccount, c claims) (login.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	var refusals []error
	for _, one := range trusts {
		audiences := one.Audiences
		if len(audiences) == 0 {
			audiences = []string{at.Host}
		}
		if !slices.ContainsFunc(audiences, c.Audience.Contains) {
			refusals = append(refusals, fmt.Errorf("trust %s: the audience is %.200q", one.Trust.Name, []string(c.Audience)))
			continue
		}
		if ctx.Err() != nil { // what was not run says nothing about the job
			break
		}
		holds, err := a.holds(ctx, at.TenantSlug, one.Condition, c.all)
		if !holds {
			refusals = append(refusals, errors.Join(fmt.Errorf("trust %s: its condition is false", one.Trust.Name), err))
			continue
		}
		p := one.Principal()
		return login.Identity{Provider: login.Local, Subject: strconv.FormatInt(one.ID, 10), Principal: p, Key: p.Key, Job: fault.ClipTo(c.Subject, maxSubject)}, nil
	}
	if err := ctx.Err(); err != nil {
		return login.Identity{}, fault.Down(err, "the check of conditions")
	}
	return login.Identity{}, unknown("of %.200q: %w", c.Subject, errors.Join(refusals...))
}

// maxSubject is how much of a token's subject is logged.
const maxSubject = 256

// holds runs a condition. One that an older version took and this one does not is false.
func (a *Authenticator) holds(ctx context.Context, tenantSlug, text string, all map[string]any) (bool, error) {
	compiled, known := a.conditions.get(tenantSlug, text)
	if !known {
		var err error
		if compiled, err = Compile(text); err != nil {
			return false, err
		}
		a.conditions.update(tenantSlug, text, func(*Condition) *Condition { return compiled })
	}
	return compiled.Holds(ctx, all)
}

// refusal is why a token does not count, for operators. To clients all refusals read alike.
type refusal struct {
	error

	why error
}

// Unwrap has both.
func (r refusal) Unwrap() []error { return []error{r.error, r.why} }

func unknown(format string, args ...any) error {
	return refusal{login.ErrUnknown(), fmt.Errorf(format, args...)}
}

// Why is the cause of a refusal by Authenticate, for operators; empty for other errors.
func Why(err error) string {
	var r refusal
	if !errors.As(err, &r) {
		return ""
	}
	return fault.ClipTo(r.why.Error(), maxWhy)
}

const maxWhy = 500
