// Package backup copies an embedded deployment, and brings a copy back. The
// server's part is the Keeper: a snapshot of the metadata, and the promise that
// the bytes it names stay. The rest is done by a command beside the server: it
// copies the snapshot first, then the objects.
package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
)

// Lease is how long a backup lasts unless it is renewed.
const Lease = 10 * time.Minute

// maxBackups bounds how many are running, since each has its snapshot.
const maxBackups = 4

// snapshots is the directory of the snapshots, below the data directory.
const (
	snapshots    = "backups"
	snapshotFile = "meta.db"
)

// SnapshotPath is where the snapshot of a backup is, below the data directory.
func SnapshotPath(id string) string { return filepath.Join(snapshots, id, snapshotFile) }

// Keeper keeps the backups of one server. They are in memory: what a server that
// was killed held is held no longer. Make one with NewKeeper.
type Keeper struct {
	cfg Config

	mu    sync.Mutex
	until map[string]time.Time // when each backup ends; zero while its snapshot is made, and while it ends
}

// Config is what a Keeper needs.
type Config struct {
	Dir      string                                       // the data directory
	Snapshot func(ctx context.Context, file string) error // writes the metadata to a new file
	Log      *slog.Logger
	Now      func() time.Time // default time.Now
}

// NewKeeper removes what the process before left, so the data directory must be
// this process's own.
func NewKeeper(c Config) (*Keeper, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := os.RemoveAll(filepath.Join(c.Dir, snapshots)); err != nil {
		return nil, fmt.Errorf("remove the snapshots of backups that were cut off: %w", err)
	}
	return &Keeper{cfg: c, until: make(map[string]time.Time)}, nil
}

// Begin holds what is there, then makes the snapshot.
func (k *Keeper) Begin(ctx context.Context) (string, time.Time, error) {
	id, err := k.hold()
	if err != nil {
		return "", time.Time{}, err
	}
	file := filepath.Join(k.cfg.Dir, SnapshotPath(id))
	if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
		err = k.cfg.Snapshot(ctx, file)
	}
	if err != nil {
		k.forget(id)
		return "", time.Time{}, fault.Down(errors.Join(err, k.remove(id)), "the snapshot of the metadata")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	until := k.cfg.Now().Add(Lease)
	k.until[id] = until
	k.cfg.Log.InfoContext(ctx, "a backup has begun; no bytes are deleted until it ends", "backup", id)
	return id, until, nil
}

func (k *Keeper) hold() (string, error) {
	k.expire()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.until) >= maxBackups {
		return "", fault.New(fault.TooMany, fault.TooManyRequests, "%d backups are running, which is the most; each ends %s after it was last renewed", maxBackups, Lease)
	}
	id := uuid.NewString()
	k.until[id] = time.Time{}
	return id, nil
}

// Renew moves the end of a backup into the future.
func (k *Keeper) Renew(id string) (time.Time, error) {
	k.expire()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.until[id].IsZero() {
		return time.Time{}, unknown(id)
	}
	k.until[id] = k.cfg.Now().Add(Lease)
	return k.until[id], nil
}

// End ends a backup and removes its snapshot, after record. If that fails, the backup stays.
func (k *Keeper) End(id string, record func() error) error {
	k.mu.Lock()
	until := k.until[id]
	if !until.IsZero() {
		k.until[id] = time.Time{}
	}
	k.mu.Unlock()
	if until.IsZero() {
		return unknown(id)
	}
	if err := record(); err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.until[id] = until
		return err
	}
	k.forget(id)
	k.cfg.Log.Info("a backup has ended", "backup", id)
	if err := k.remove(id); err != nil {
		return fault.Down(err, "the removal of the snapshot")
	}
	return nil
}

// Held says whether a backup is running. It ends those that are over.
func (k *Keeper) Held() bool {
	k.expire()
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.until) > 0
}

// Snapshot is where the snapshot of a backup is, below the data directory.
func (k *Keeper) Snapshot(id string) string { return SnapshotPath(id) }

func (k *Keeper) expire() {
	now := k.cfg.Now()
	var over []string
	k.mu.Lock()
	for id, until := range k.until {
		if !until.IsZero() && now.After(until) {
			over = append(over, id)
			delete(k.until, id)
		}
	}
	k.mu.Unlock()
	for _, id := range over {
		k.cfg.Log.Warn("a backup was not renewed and is over; what it held may be deleted", "backup", id, "error", k.remove(id))
	}
}

func (k *Keeper) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.until, id)
}

func (k *Keeper) remove(id string) error {
	return os.RemoveAll(filepath.Join(k.cfg.Dir, snapshots, id))
}

func unknown(id string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "backup %q not found: it has ended, was not renewed in time, or the server was restarted", id)
}
