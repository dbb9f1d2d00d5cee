package fsblob

import (
	"context"
	"errors"
	"io/fs"
	"regexp"

	"github.com/berth-registry/berth/pkg/blob"
)

// List walks the directory (see blob.Lister). A directory that is not one of
// the store's is reported once, without what it holds. What comes or goes meanwhile may be
// seen or not.
func (s *Store) List(ctx context.Context, fn func(blob.Stored) error) error {
	var stop error // of fn or ctx; all else is the file system's
	err := fs.WalkDir(s.tree.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			stop = context.Cause(ctx)
			return fs.SkipAll
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && ours.MatchString(p):
			return nil
		}
		if isIdentity(p) {
			return nil
		}
		stored, err := describe(p, d)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if stop = fn(stored); stop != nil {
			return fs.SkipAll
		}
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return down(err, "list the objects")
	}
	return stop
}

func describe(p string, d fs.DirEntry) (blob.Stored, error) {
	info, err := d.Info()
	if err != nil {
		return blob.Stored{}, err
	}
	stored := blob.Stored{Size: info.Size(), Changed: info.ModTime()}
	k, ok := keyOf(p)
	if ok && info.Mode().IsRegular() {
		stored.Key = k
	} else {
		stored.Foreign = p
	}
	return stored, nil
}

// ours matches the directories that the store makes: the root, o, o/<tenant>
// and o/<tenant>/<shard>.
var ours = regexp.MustCompile(`^(\.|o(/(0|-?[1-9][0-9]*)(/[0-9a-f]{2})?)?)$`)
