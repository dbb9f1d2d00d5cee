package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/identity"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
)

// Restore makes a data directory of a backup. Every byte is compared with its
// checksum; where one is wrong, nothing is left of the directory.
type Restore struct {
	From, To string               // To is missing or empty
	Progress func(done, of int64) // bytes; may be nil
	Report   func(wrong string)   // a file that is damaged; may be nil
}

// restoring is a running Restore.
type restoring struct {
	Restore
	all   int64 // bytes
	wrong int
	sum   Summary
}

// Run restores. The directory carries the identity of the deployment then, and
// the generation of the backup.
func (r Restore) Run(ctx context.Context) (Summary, error) {
	run := &restoring{Restore: r}
	if err := run.measure(); err != nil {
		return Summary{}, err
	}
	made, err := r.make()
	if err != nil {
		return Summary{}, err
	}
	if err := run.run(ctx); err != nil {
		return Summary{}, errors.Join(err, r.undo(made))
	}
	return run.sum, nil
}

// measure reads the list once, before anything is made.
func (r *restoring) measure() error {
	return eachSum(r.From, func(_, path string) error {
		info, err := os.Stat(filepath.Join(r.From, path))
		if err == nil {
			r.all += info.Size()
		}
		return nil // the copy tells what is missing
	})
}

// make makes the target, and says whether it was missing.
func (r Restore) make() (bool, error) {
	entries, err := os.ReadDir(r.To)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, os.MkdirAll(r.To, 0o700)
	case err != nil:
		return false, err
	case len(entries) > 0:
		return false, fmt.Errorf("data_dir %s is not empty: a backup is restored to a directory that is empty or not there yet", r.To)
	}
	return false, nil
}

// undo empties the target, which was empty before.
func (r Restore) undo(made bool) error {
	if made {
		return os.RemoveAll(r.To)
	}
	entries, err := os.ReadDir(r.To)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(r.To, e.Name())))
	}
	return err
}

func (r *restoring) run(ctx context.Context) error {
	if err := eachSum(r.From, func(sum, path string) error { return r.file(ctx, sum, path) }); err != nil {
		return err
	}
	if r.wrong > 0 {
		return fmt.Errorf("%d files of the backup in %s are missing or damaged, and nothing was restored: restore another copy of it, or an older backup", r.wrong, r.From)
	}
	return r.name(ctx)
}

// file copies a file of the backup. The database is the last one, so that what
// was cut off before does not look whole.
func (r *restoring) file(ctx context.Context, want, path string) error {
	src, err := os.Open(filepath.Join(r.From, path))
	if errors.Is(err, fs.ErrNotExist) {
		r.tell("%s is missing", path)
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	mode := fs.FileMode(0o440)
	if path == database {
		mode = 0o600
	}
	part := filepath.Join(r.To, "part")
	size, sum, err := write(ctx, part, mode, src)
	if err != nil {
		return fmt.Errorf("restore %s: %w", path, err)
	}
	if sum != want {
		r.tell("%s is damaged: its SHA-256 is %s, and %s has %s", path, sum, sumsFile, want)
		return os.Remove(part)
	}
	if path != database {
		r.sum.Objects++
		r.sum.Bytes += size
	}
	if r.Progress != nil {
		r.Progress(r.sum.Bytes, r.all)
	}
	return place(part, r.To, filepath.FromSlash(path))
}

func (r *restoring) tell(format string, args ...any) {
	r.wrong++
	if r.Report != nil {
		r.Report(fmt.Sprintf(format, args...))
	}
}

// name gives the blobs the identity of their database.
func (r *restoring) name(ctx context.Context) error {
	m, err := sqlitemeta.Open(ctx, sqlitemeta.Options{Dir: r.To}) // of an older version, it is brought up to date
	if err != nil {
		return err
	}
	id, err := m.FindIdentity(ctx)
	if err = errors.Join(err, m.Close()); err != nil {
		return err
	}
	b, err := fsblob.Open(filepath.Join(r.To, blobs), fsblob.Options{})
	if err != nil {
		return err
	}
	_, err = b.ReadIdentity(ctx)
	if errors.Is(err, blob.ErrMissing) {
		err = b.WriteIdentity(ctx, identity.Identity{}, identity.Identity{Deployment: id.Deployment})
	}
	return errors.Join(err, b.Close())
}
