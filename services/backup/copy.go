package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/identity"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// What is in the directory of a backup. With the first two it is a data
// directory, as `berth fsck` reads it.
const (
	database = sqlitemeta.FileName
	blobs    = "blobs"
	sumsFile = SumsFile
	working  = "tmp" // what is not in its place yet
)

// SumsFile is the list of checksums, which a backup has and a data directory has not.
const SumsFile = "SHA256SUMS"

// Copy brings the directory of a backup up to date. Objects that are there stay
// as they are: their names are never used for other bytes. Until the end, what
// was there before is whole.
type Copy struct {
	Dir      string                                       // made if it is missing
	Snapshot func(ctx context.Context, file string) error // writes the metadata to a new file
	Blobs    Source
	Prune    bool                 // remove the objects that only earlier backups named
	Progress func(done, of int64) // bytes; may be nil
	Report   func(lost string)    // a blob that the server has lost; may be nil
}

// Source is the blob store of the server.
type Source interface {
	blob.Opener
	ReadIdentity(ctx context.Context) (identity.Identity, error)
	Expect(deployment uuid.UUID)
}

// Summary is what was copied.
type Summary struct {
	Objects, Bytes       int64 // in the backup
	NewObjects, NewBytes int64 // of these, copied by this run
	Pruned               int64 // objects
	Lost                 int64 // objects that the server names and has not, or not whole
}

// copying is a running Copy.
type copying struct {
	Copy
	rows   *sqlitemeta.Store
	target *fsblob.Store
	sums   *sums
	all    int64 // bytes to be in the backup
	sum    Summary
}

// Run copies.
func (c Copy) Run(ctx context.Context) (Summary, error) {
	lock, err := c.take()
	if err != nil {
		return Summary{}, err
	}
	run := &copying{Copy: c}
	if err = run.open(ctx); err == nil {
		err = run.run(ctx)
	}
	return run.sum, errors.Join(err, run.close(), os.RemoveAll(c.tmp("")), lock.Close())
}

func (c Copy) tmp(name string) string { return filepath.Join(c.Dir, working, name) }

// take makes the directory, or sees that it is that of a backup, and keeps others
// from it.
func (c Copy) take() (*os.File, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch e.Name() {
		case database, blobs, sumsFile, working, "lost+found":
		default:
			return nil, fmt.Errorf("%s holds %s, which is not part of a backup: give a directory that is empty, or that holds an earlier backup", c.Dir, e.Name())
		}
	}
	lock, err := os.Open(c.Dir)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("another process is making a backup in %s", c.Dir)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func (c *copying) open(ctx context.Context) error {
	if err := os.RemoveAll(c.tmp("")); err != nil {
		return err
	}
	if err := os.Mkdir(c.tmp(""), 0o700); err != nil {
		return err
	}
	if err := c.Snapshot(ctx, c.tmp(database)); err != nil {
		return err
	}
	var err error
	if c.rows, err = sqlitemeta.Open(ctx, sqlitemeta.Options{Dir: c.tmp(""), ReadOnly: true, Readers: 1}); err != nil {
		return err
	}
	if c.target, err = fsblob.Open(filepath.Join(c.Dir, blobs), fsblob.Options{}); err != nil {
		return err
	}
	c.sums, err = createSums(c.tmp(sumsFile))
	return err
}

func (c *copying) close() error {
	var errs []error
	if c.rows != nil {
		errs = append(errs, c.rows.Close())
	}
	if c.target != nil {
		errs = append(errs, c.target.Close())
	}
	if c.sums != nil {
		errs = append(errs, c.sums.close())
	}
	return errors.Join(errs...)
}

func (c *copying) run(ctx context.Context) error {
	id, err := c.rows.FindIdentity(ctx)
	if err != nil {
		return err
	}
	if err := c.belongs(ctx, id); err != nil {
		return err
	}
	if err := c.eachLive(ctx, func(row meta.ObjectRow) error { c.all += row.Size; return nil }); err != nil {
		return err
	}
	if err := c.eachLive(ctx, func(row meta.ObjectRow) error { return c.object(ctx, row) }); err != nil {
		return err
	}
	if err := c.finish(ctx, id); err != nil {
		return err
	}
	if c.Prune {
		return c.prune(ctx)
	}
	return nil
}

// belongs sees that the snapshot, the blobs and the backup are of one deployment.
func (c *copying) belongs(ctx context.Context, id identity.Identity) error {
	from, err := c.Blobs.ReadIdentity(ctx)
	switch {
	case err != nil:
		return err
	case from.Deployment != id.Deployment:
		return fmt.Errorf("the server that answers keeps deployment %s, and the blobs in data_dir are of deployment %s: give the data_dir of the server, or the admin_addr of its admin API", id.Deployment, from.Deployment)
	}
	c.Blobs.Expect(id.Deployment)
	to, err := c.target.ReadIdentity(ctx)
	switch {
	case errors.Is(err, blob.ErrMissing):
		return c.target.WriteIdentity(ctx, identity.Identity{}, identity.Identity{Deployment: id.Deployment})
	case err != nil:
		return err
	case to.Deployment != id.Deployment:
		return fmt.Errorf("%s holds a backup of deployment %s, and this is deployment %s: give each a directory of its own", c.Dir, to.Deployment, id.Deployment)
	}
	return nil
}

const page = 1000

func (c *copying) eachLive(ctx context.Context, fn func(meta.ObjectRow) error) error {
	var after blob.Key
	for {
		rows, err := c.rows.ListObjects(ctx, after, page)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, row := range rows {
			after = row.Key
			if row.State != 'L' {
				continue
			}
			if err := fn(row); err != nil {
				return err
			}
		}
	}
}

// object copies an object, unless it is there.
func (c *copying) object(ctx context.Context, row meta.ObjectRow) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	want, err := oci.ParseDigest(row.Blob)
	if err != nil {
		return fmt.Errorf("object %s: %w", row.Key, err)
	}
	path := filepath.Join(blobs, fsblob.Path(row.Key))
	var sum string
	switch size, err := c.target.Stat(ctx, row.Key); {
	case err == nil && size == row.Size:
		if sum, err = c.known(ctx, want, path); err != nil {
			return err
		}
	case err != nil && !errors.Is(err, blob.ErrMissing):
		return err
	default:
		sum, err = c.fetch(ctx, row, want, path)
		if errors.Is(err, errMissing) || errors.Is(err, errDamaged) {
			c.sum.Lost++
			if c.Report != nil {
				c.Report(fmt.Sprintf("blob %s (object %s) %s", row.Blob, row.Key, err))
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("copy object %s of blob %s: %w", row.Key, row.Blob, err)
		}
		c.sum.NewObjects++
		c.sum.NewBytes += row.Size
	}
	c.sum.Objects++
	c.sum.Bytes += row.Size
	if c.Progress != nil {
		c.Progress(c.sum.Bytes, c.all)
	}
	return c.sums.add(sum, path)
}

// known is the SHA-256 of an object that is in the backup.
func (c *copying) known(ctx context.Context, d oci.Digest, path string) (string, error) {
	if d.Algorithm() == oci.SHA256 {
		return d.Hex(), nil
	}
	return sumOf(ctx, filepath.Join(c.Dir, path))
}

// In which way the server has lost an object.
var (
	errMissing = errors.New("is missing")
	errDamaged = errors.New("is damaged")
)

// fetch copies an object and returns its SHA-256.
func (c *copying) fetch(ctx context.Context, row meta.ObjectRow, want oci.Digest, path string) (string, error) {
	src, err := c.Blobs.Open(ctx, row.Key)
	if errors.Is(err, blob.ErrMissing) {
		return "", errMissing
	}
	if err != nil {
		return "", err
	}
	h := oci.NewHasher(want.Algorithm())
	file := c.tmp("object")
	_, sum, err := write(ctx, file, 0o440, io.TeeReader(src, h))
	if err = errors.Join(err, src.Close()); err != nil {
		return "", err
	}
	if h.Digest() != want {
		return "", errors.Join(errDamaged, os.Remove(file))
	}
	return sum, place(file, c.Dir, path)
}

// finish puts metadata and sums in their places: from here on the backup is the
// new one.
func (c *copying) finish(ctx context.Context, id identity.Identity) error {
	sum, err := sumOf(ctx, c.tmp(database))
	if err != nil {
		return err
	}
	// The last line: sums without it were cut off.
	if err := errors.Join(c.sums.add(sum, database), c.sums.finish()); err != nil {
		return err
	}
	if err := place(c.tmp(database), c.Dir, database); err != nil {
		return err
	}
	if err := place(c.tmp(sumsFile), c.Dir, sumsFile); err != nil {
		return err
	}
	was, err := c.target.ReadIdentity(ctx)
	if err != nil {
		return err
	}
	return c.target.WriteIdentity(ctx, was, id)
}

// prune removes the objects that the backup does not name.
func (c *copying) prune(ctx context.Context) error {
	return c.target.List(ctx, func(s blob.Stored) error {
		if s.Foreign != "" {
			return nil
		}
		switch row, err := c.rows.FindObject(ctx, s.Key); {
		case err == nil && row.State == 'L':
			return nil
		case err != nil && !isUnknown(err):
			return err
		}
		c.sum.Pruned++
		err := os.Remove(filepath.Join(c.Dir, blobs, fsblob.Path(s.Key)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}
