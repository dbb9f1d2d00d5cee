package assemble

import (
	"fmt"
	"path/filepath"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/identity"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
)

// where is the setting that a sentence about both sides begins with.
func where(c boot.Config) string {
	switch {
	case !c.Embedded():
		return "meta and blobs"
	case c.Blobs.IsZero():
		return "data_dir " + c.DataDir
	default:
		return "data_dir " + c.DataDir + " and blobs"
	}
}

// refusal says what is wrong, and what to do.
func refusal(c boot.Config, now sides) error {
	database, store := "the database that meta names", "the blob store that blobs names"
	if c.Embedded() {
		database = filepath.Join(c.DataDir, sqlitemeta.FileName)
	}
	if c.Blobs.IsZero() {
		store = blobDir(c)
	}
	var text string
	switch now.state {
	case identity.Behind:
		text = fmt.Sprintf("%s is older than %s: it is at generation %d, and the blobs were served with generation %d. "+
			"It was restored from a backup, is a copy, or has lost transactions, and knows nothing of what was pushed or deleted since. "+
			"Put the newer database there; or, if this is the one to continue with, start once with accept_restored (--accept-restored)",
			database, store, now.Database.Generation, now.Store.Generation)
	case identity.Foreign:
		text = fmt.Sprintf("%s belongs to deployment %s, and %s to deployment %s. Name the two that belong together; "+
			"or, to give the store to this database, start once with accept_store (--accept-store): what the database does not know is then removed from it in time",
			store, now.Store.Deployment, database, now.Database.Deployment)
	case identity.NoStore:
		text = fmt.Sprintf("%s names blobs that are not in %s: it is empty, not mounted, or not the one of this database. "+
			"Mount or name the right one, or restore it; or, to continue without what is missing, start once with accept_store (--accept-store): clients then have to push it again",
			database, store)
	default:
		text = fmt.Sprintf("%s belongs to a deployment whose database is not %s, which is empty or another one. "+
			"Name the right one, or restore it; or, to begin again, start once with accept_store (--accept-store): what the database does not know is then removed from the store in time",
			store, database)
	}
	return fmt.Errorf("%s: %s", where(c), text)
}
