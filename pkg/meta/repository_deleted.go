package meta

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// DeletedRepository is a repository that was deleted and can be restored. Several may
// have had one name.
type DeletedRepository struct {
	ID        int64
	Name      string
	DeletedAt time.Time
	ExpireAt  time.Time // until then it can be restored
}

// deletedMark is less than all characters of names.
const deletedMark = "\x01"

// Key orders deleted repositories by name and ID. It is greater than the name, and
// less than all other names that are greater than it.
func (d DeletedRepository) Key() string { return fmt.Sprintf("%s%s%016x", d.Name, deletedMark, d.ID) }

// ParseDeletedKey is the reverse of Key. Of what is only a name the ID is 0.
func ParseDeletedKey(key string) (string, int64) {
	name, id, found := strings.Cut(key, deletedMark)
	n, err := strconv.ParseInt(id, 16, 64)
	if !found || err != nil {
		return key, 0
	}
	return name, n
}

// RepositoryUndelete is a repository to restore.
type RepositoryUndelete struct {
	Repo      Repo      // the name that it had
	DeletedAt time.Time // which of those that had the name; zero: the one that was deleted last
	As        string    // the name that it gets; empty: the one that it had
	By        Cause
}

// Restored is the name that it gets.
func (u RepositoryUndelete) Restored() Repo {
	r := u.Repo
	if u.As != "" {
		r.Name = u.As
	}
	return r
}

// DeletedRepositories keeps hosted repositories that were deleted, for
// Lifetimes.Undelete (protocol section 12), if they hold a manifest or trash. Nothing
// else finds them, and their names are free. A push that needs the room ends the oldest,
// as it does with trash.
type DeletedRepositories interface {
	// DeletedBetween reads a part of those of a registry, by Key, in either order.
	DeletedBetween(ctx context.Context, t tenant.ID, r tenant.RegistryID, b Between[string]) ([]DeletedRepository, error)
	// UndeleteRepository restores one with all that it held; open uploads ended with its
	// deletion. fault.NameUnknown if none can be restored; fault.AlreadyExists if the
	// name has a repository that holds a manifest, an unfinished upload or blobs of a push.
	// One that holds none of them is deleted for it.
	UndeleteRepository(ctx context.Context, u RepositoryUndelete) error
}

// NotDeleted is the error for restoring a repository that was not deleted, or that can no
// longer be restored.
func NotDeleted(r Repo) error {
	return fault.New(fault.NotFound, fault.NameUnknown, "no deleted repository %q can be restored in this registry", r.Name)
}

// NameTaken is the error for restoring a repository whose name has another by now.
func NameTaken(r Repo) error {
	return fault.New(fault.Conflict, fault.AlreadyExists,
		"a repository named %q exists and holds content; restore the deleted one under another name, or delete that one first", r.Name)
}
