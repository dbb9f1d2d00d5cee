package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}

// write makes the file hold what src gives, durably, and returns how much that
// was and its SHA-256 in hexadecimal digits. The file's name is made durable by
// who gives it its place.
func write(ctx context.Context, file string, mode fs.FileMode, src io.Reader) (int64, string, error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return 0, "", err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), contextReader{ctx, src})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, "", errors.Join(err, os.Remove(file))
	}
	return n, hex.EncodeToString(h.Sum(nil)), nil
}

// sumOf is the SHA-256 of a file in hexadecimal digits.
func sumOf(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, contextReader{ctx, f})
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// place moves a file that is durable to its place below root, durably.
func place(file, root, path string) error {
	target := filepath.Join(root, path)
	if err := makeDirs(root, filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Rename(file, target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

// makeDirs makes the directories of a path below root, durably.
func makeDirs(root, path string) error {
	dir := filepath.Join(root, path)
	if path == "." {
		return nil
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDirs(root, filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
