package fsblob

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
)

// objects is the directory of all objects below the root.
const objects = "o"

// tree is the directories of a store. Paths go through os.Root, so no link
// planted in them leads outside (contract row F6).
type tree struct {
	root  *os.Root
	flush func(*os.File) error // makes a file or directory durable: (*os.File).Sync

	// making is held while directories are made and made durable. A holder of
	// the read lock knows that each directory it sees survives a power loss.
	making sync.RWMutex
}

// openTree opens the tree in dir. A process that was killed may have left
// directories that are not durable; from here on all are.
func openTree(dir string, handle *os.File, existing bool) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &tree{root: root, flush: (*os.File).Sync}
	if existing {
		return t, nil
	}
	if err := root.Mkdir(objects, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, errors.Join(err, root.Close())
	}
	if err := flushFileSystem(handle); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return t, nil
}

func (t *tree) close() error { return t.root.Close() }

// shardOf is the directory of the object. The last byte of a UUID is random in
// every version, so the 256 shards of a tenant fill evenly.
func shardOf(k blob.Key) string {
	id := k.Incarnation.String()
	return path.Join(objects, strconv.FormatInt(k.Tenant, 10), id[len(id)-2:])
}

// pathOf is the file of the object.
func pathOf(k blob.Key) string { return path.Join(shardOf(k), k.Incarnation.String()) }

// Path is where an object's file is, below the directory of its store.
func Path(k blob.Key) string { return pathOf(k) }

// keyOf is the inverse of pathOf; false for any other path.
func keyOf(p string) (blob.Key, bool) {
	parts := strings.Split(p, "/")
	if len(parts) != 4 {
		return blob.Key{}, false
	}
	tenant, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return blob.Key{}, false
	}
	id, err := uuid.Parse(parts[3])
	if err != nil {
		return blob.Key{}, false
	}
	k := blob.Key{Tenant: tenant, Incarnation: id}
	return k, pathOf(k) == p
}

// open opens the object's file; with os.O_CREATE it makes the directories too.
func (t *tree) open(k blob.Key, flag int) (*os.File, error) {
	f, err := t.root.OpenFile(pathOf(k), flag, 0o640)
	if flag&os.O_CREATE == 0 || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := t.makeShard(k); err != nil {
		return nil, err
	}
	return t.root.OpenFile(pathOf(k), flag, 0o640)
}

// makeShard makes the object's directory, durably.
func (t *tree) makeShard(k blob.Key) error {
	t.making.Lock()
	defer t.making.Unlock()
	shard := shardOf(k)
	for _, dir := range []string{path.Dir(shard), shard} {
		switch err := t.root.Mkdir(dir, 0o750); {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return err
		}
		if err := t.flushDir(path.Dir(dir)); err != nil {
			return errors.Join(err, t.root.Remove(dir))
		}
	}
	return nil
}

// settle makes the object's name durable: the entry in its directory, and the
// directories above.
func (t *tree) settle(k blob.Key) error {
	t.making.RLock()
	defer t.making.RUnlock()
	return t.flushDir(shardOf(k))
}

func (t *tree) flushDir(dir string) error {
	d, err := t.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(t.flush(d), d.Close())
}
