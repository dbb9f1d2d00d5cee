// Package login is the contract of authenticators: what finds the principal that a name and
// a secret belong to. Each authenticator is one provider of identities, and passes
// logintest.
package login

import (
	"context"
	"errors"
	"net/netip"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Attempt is a name and a secret that a client of a tenant sent.
type Attempt struct {
	Tenant  tenant.ID
	Name    string
	Secret  string
	Address netip.Addr // of the client; invalid where it is not known

	TenantSlug string
	Host       string // of the registry that is asked; empty where none is
}

// String keeps the secret out of logs and dumps.
func (a Attempt) String() string { return a.Name + ":[redacted]" }

// GoString is String.
func (a Attempt) GoString() string { return a.String() }

// Identity is whom an Attempt belongs to. What another provider says of a person, under
// whatever name, is another identity: a subject is unique in its provider and tenant only.
type Identity struct {
	Provider  string // Authenticator.Provider
	Subject   string // never empty; stays, and is never used for another identity
	Principal access.Principal
	Key       string // the key, access token or trust that was used; empty for others

	Job string // the subject of a job's token, as its issuer says; empty for others

	// Proof changes when the secret that was used no longer counts. It is no secret. Empty
	// for what is looked up at each login, as keys are.
	Proof string
}

// Authenticator finds identities. Safe for concurrent use.
type Authenticator interface {
	// Provider names the source of identities: "local", later a directory.
	Provider() string
	// Authenticate returns the identity of an attempt. fault.ResourceUnknown means that the
	// attempt is not of this authenticator, whatever is wrong with it: an unknown name, a
	// wrong or empty secret, an account that is disabled. These cost the same and read the
	// same. Any other error is an outage, which says nothing about the attempt.
	Authenticate(ctx context.Context, a Attempt) (Identity, error)
}

// ErrUnknown is the answer to an attempt that is of no account.
func ErrUnknown() error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "the name or the secret is wrong")
}

// unnamed is ErrUnknown, and reads as that does.
type unnamed struct{ error }

// Unwrap returns the error.
func (n unnamed) Unwrap() error { return n.error }

// ErrNoName is ErrUnknown of a Directory that has no such name. To clients both are the same.
func ErrNoName() error { return unnamed{ErrUnknown()} }

// SaysNoName reports whether an error is ErrNoName.
func SaysNoName(err error) bool {
	var n unnamed
	return errors.As(err, &n)
}
