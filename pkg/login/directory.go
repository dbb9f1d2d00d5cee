package login

import (
	"context"
	"errors"
)

// Directory knows people outside of Berth's database, by name and password. Safe for
// concurrent use.
type Directory interface {
	// Authenticate returns the person with this name and password. ErrUnknown is for any
	// mismatch, also of a person who is disabled; ErrNoName where the directory can tell that it
	// has no such name, whatever the password; fault.Unavailable while the directory cannot be
	// asked, which says nothing about the attempt.
	Authenticate(ctx context.Context, name, secret string) (Person, error)
	// Find returns a person of an earlier login by the subject, without a password. ErrGone
	// where the directory says with authority that the person is gone or disabled;
	// fault.Unavailable while it cannot be asked.
	Find(ctx context.Context, subject string) (Person, error)
}

// ErrGone says that a directory has a person no longer, or has disabled the person: what it
// said before counts no more.
var ErrGone = errors.New("login: the directory has disabled or removed the person")

// Person is what a directory says of somebody at one moment.
type Person struct {
	Subject     string // never empty; stays when the person is renamed or moved
	Name        string // that the person logs in with, as the directory writes it
	DisplayName string // may be empty, as Email may
	Email       string
	Groups      []string // sorted, without duplicates; bounded by the directory's client
}
