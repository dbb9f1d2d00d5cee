package login

import (
	"context"
	"crypto/sha256"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Local is the provider of accounts in Berth's own database.
const Local = "local"

// Accounts finds accounts by name and secret.
type Accounts interface {
	meta.AccountFinder
	meta.Passwords
}

// Keys authenticates by the keys of service accounts and the access tokens of users.
type Keys struct{ Accounts meta.AccountFinder }

// Provider implements Authenticator.
func (Keys) Provider() string { return Local }

// Authenticate implements Authenticator.
func (k Keys) Authenticate(ctx context.Context, a Attempt) (Identity, error) {
	found, err := find(ctx, k.Accounts, a)
	if err != nil {
		return Identity{}, err
	}
	if found.Key == "" {
		return Identity{}, ErrUnknown()
	}
	id := identity(found)
	id.Proof = "" // the key was compared, not the password: it must not be remembered as one
	return id, nil
}

// noName is what no account is named.
const noName = "-"

// find reads the account of an attempt, in one statement. A generated secret is looked up
// itself: then the cost does not show whether the account exists (contract row B10).
func find(ctx context.Context, accounts meta.AccountFinder, a Attempt) (meta.Login, error) {
	name := a.Name
	if tenant.CheckSlug(name) != nil { // the store takes no name as any account
		name = noName
	}
	hash := sha256.Sum256([]byte(a.Secret))
	var found meta.Login
	var err error
	if strings.HasPrefix(a.Secret, password.SecretPrefix) {
		found, err = accounts.FindAccountByKey(ctx, a.Tenant, name, hash)
	} else {
		found, err = accounts.FindLogin(ctx, a.Tenant, name, hash)
	}
	if fault.Is(err, fault.ResourceUnknown) {
		return meta.Login{}, ErrUnknown()
	}
	return found, err
}

func identity(found meta.Login) Identity {
	return Identity{Provider: Local, Subject: strconv.FormatInt(found.ID, 10), Principal: found.Principal(), Key: found.Key, Proof: found.Password}
}

// Passwords authenticates users by their passwords.
type Passwords struct {
	Accounts Accounts
	Hasher   *password.Hasher

	// Proven reports whether the secret of an attempt was compared with this hash before,
	// and is its password; nil: none was.
	Proven func(a Attempt, hash string) bool
}

// Provider implements Authenticator.
func (Passwords) Provider() string { return Local }

// Authenticate implements Authenticator. Whatever is wrong, it compares the secret with one
// hash, so that the time does not show which accounts exist.
func (p Passwords) Authenticate(ctx context.Context, a Attempt) (Identity, error) {
	if !password.Possible(a.Secret) {
		return Identity{}, ErrUnknown()
	}
	found, err := find(ctx, p.Accounts, a)
	if err != nil && !fault.Is(err, fault.ResourceUnknown) {
		return Identity{}, err
	}
	if err := p.compare(ctx, a, found); err != nil {
		return Identity{}, err
	}
	found.Key = ""
	return identity(found), nil
}

func (p Passwords) compare(ctx context.Context, a Attempt, found meta.Login) error {
	if found.Password != "" && p.Proven != nil && p.Proven(a, found.Password) {
		return nil
	}
	same, err := p.Hasher.Verify(ctx, a.Tenant, a.Secret, found.Password)
	if err != nil {
		return err
	}
	if !same {
		return ErrUnknown()
	}
	return p.renew(ctx, a, found)
}

// renew makes a hash again that was made at another cost.
func (p Passwords) renew(ctx context.Context, a Attempt, found meta.Login) error {
	if !p.Hasher.Stale(found.Password) {
		return nil
	}
	hash, err := p.Hasher.Hash(ctx, a.Tenant, a.Secret)
	if err != nil {
		return err
	}
	return p.Accounts.RehashPassword(ctx, found.Tenant, found.ID, found.Password, hash)
}

// Both tries keys and then passwords. A login takes one statement.
type Both struct {
	Passwords

	NoPasswords bool // only keys count
}

// Authenticate implements Authenticator.
func (b Both) Authenticate(ctx context.Context, a Attempt) (Identity, error) {
	once := &remembered{Accounts: b.Accounts}
	id, err := Keys{once}.Authenticate(ctx, a)
	if b.NoPasswords || !fault.Is(err, fault.ResourceUnknown) {
		return id, err
	}
	b.Passwords.Accounts = once
	return b.Passwords.Authenticate(ctx, a)
}

// remembered reads the account of one attempt once.
type remembered struct {
	Accounts // that are asked

	asked bool
	found meta.Login
	err   error
}

// FindLogin implements meta.AccountFinder.
func (r *remembered) FindLogin(ctx context.Context, t tenant.ID, name string, hash [32]byte) (meta.Login, error) {
	if !r.asked {
		r.found, r.err = r.Accounts.FindLogin(ctx, t, name, hash)
		r.asked = true
	}
	return r.found, r.err
}
