package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Person is a person of an identity provider, and the account that stands for the person in a
// tenant: a user without a password.
type Person struct {
	Account

	Provider    int64  // IdentityProvider.ID; negative of one that was deleted; 0: the account stands for no person
	Subject     string // the person's at the provider, which stays
	LoginName   string // the person's at the provider now
	Groups      []string
	GroupsUntil time.Time // when Groups count no more
	ReadAt      time.Time // when the provider said so; what it said before that counts no more
	EndedAt     time.Time // when the provider disabled or removed the person; zero: it did not

	Refresh        []byte    // by which the provider is asked again, sealed; empty: not needed, or not given
	RefreshTriedAt time.Time // since when the provider may have replaced it; zero: it has not

	Apart string // what RecordApart kept

	// DueAt is when a person that DuePeople returned became due.
	DueAt time.Time

	// Active says of a person that DuePeople returned whether there is anything to decide: a
	// login within the last PersonSeen, a session, or a token to log in with.
	Active bool
}

// Namesake is an account that a name may be of, and the person that it stands for.
type Namesake struct {
	Slug      string
	Provider  int64 // as of Person
	LoginName string
	Apart     string // as of Person
}

// PersonSeen is how long a person is active after a login.
const PersonSeen = time.Hour

// PersonReading is what a provider says of a person at this moment.
type PersonReading struct {
	LoginName string
	Groups    []string      // sorted, without duplicates
	Next      time.Duration // until it is to be read again
	Hold      time.Duration // for how long Groups count
	Login     bool          // the person logs in
	Refresh   []byte        // of a login: takes the place of Person.Refresh
}

// People keeps people of identity providers; absence is fault.ResourceUnknown, as is a provider
// that was deleted, is disabled or is not offered to the tenant any more, where a reading of a
// person is kept: what is said meanwhile does not count.
type People interface {
	PersonRefreshes

	// FindPerson finds the account with this slug, of any kind and also a disabled one, and the
	// person that it stands for.
	FindPerson(ctx context.Context, t tenant.ID, slug string) (Person, error)
	// FindNamesakes finds the accounts, of any kind, whose ID is the name as FoldName makes it, and
	// the people who log in with such a name.
	FindNamesakes(ctx context.Context, t tenant.ID, folded string) ([]Namesake, error)
	// FindPersonBySubject finds a person of a provider.
	FindPersonBySubject(ctx context.Context, t tenant.ID, provider int64, subject string) (Person, error)
	// CreatePerson makes a user with Account.DisplayName and the role MEMBER, with the first of
	// the slugs that no account of the tenant has, for a person that has none yet; if the
	// person has one, that is returned.
	CreatePerson(ctx context.Context, by Cause, p Person, slugs []string, r PersonReading) (Person, error)
	// RecordPerson keeps what a provider says of a person. Other groups than before, or again
	// after they had ended, grow the version of the tenant's AccessPolicy and are an event. What
	// was said before Person.ReadAt changed is not kept.
	RecordPerson(ctx context.Context, by Cause, p Person, r PersonReading) error
	// RecordApart keeps what says that no provider of the operator's has the name that the person
	// logged in with, and which providers those were; "" = one may have it. What RecordPerson
	// keeps leaves it as it is.
	RecordApart(ctx context.Context, p Person, apart string) error
	// ReturnPerson enables the account of a person that EndPerson disabled.
	ReturnPerson(ctx context.Context, by Cause, p Person) error
	// EndPerson disables the account and ends its tokens, refresh tokens and sessions, and its
	// groups.
	EndPerson(ctx context.Context, by Cause, p Person) error
	// DuePeople returns people of all tenants that have been due for reading for so long, the
	// longest due first, at most 200, with what reading them needs. PostponePerson takes one out
	// until the next login, or until the account gets a token or a session or is enabled; groups
	// end whose provider does not count any more.
	DuePeople(ctx context.Context, since time.Duration, limit int) ([]Person, error)
	PostponePerson(ctx context.Context, p Person) error
	// PostponePeople puts off those of a provider that are due.
	PostponePeople(ctx context.Context, provider int64, by time.Duration) error
}
