package assemble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/services/admin"
	"github.com/berth-registry/berth/services/backup"
	"github.com/berth-registry/berth/services/internal/adminclient"
)

// snapshotter is a metadata store that can be copied while it is used.
type snapshotter interface {
	Snapshot(ctx context.Context, file string) error
}

// keepBackups makes what backups of a running server need, where it keeps its
// metadata in the data directory.
func (b *builder) keepBackups() error {
	m, ok := b.stores.meta.(snapshotter)
	if !ok {
		return nil
	}
	var err error
	b.backups, err = backup.NewKeeper(backup.Config{Dir: b.config.DataDir, Snapshot: m.Snapshot, Log: b.Log})
	return err
}

// adminBackups are those of the admin API; nil where there are none.
func (b builder) adminBackups() admin.Backups {
	if b.backups == nil {
		return nil
	}
	return b.backups
}

// held says whether a backup needs the bytes that are there.
func (b builder) held() bool { return b.backups != nil && b.backups.Held() }

// errNotEmbedded says what to do with a cluster.
var errNotEmbedded = errors.New("meta: metadata in Postgres is not backed up by berth: use pg_dump, then copy the bucket with its own tools, and check the two with `berth fsck`")

// Backup brings the directory up to date with the deployment, which may be
// served meanwhile, on this machine. c has passed CheckStores.
func Backup(ctx context.Context, c boot.Config, copying backup.Copy) (backup.Summary, error) {
	if !c.Embedded() {
		return backup.Summary{}, errNotEmbedded
	}
	if _, err := os.Stat(filepath.Join(c.DataDir, sqlitemeta.FileName)); err != nil {
		return backup.Summary{}, fmt.Errorf("data_dir %s: there is nothing to back up: %w", c.DataDir, err)
	}
	if inside(copying.Dir, c.DataDir) {
		return backup.Summary{}, fmt.Errorf("%s is data_dir, or in it: what is lost with data_dir would be lost with its backup; give another directory", copying.Dir)
	}
	token, err := readOperatorToken(c)
	if err != nil {
		return backup.Summary{}, err
	}
	server := &backup.Client{Client: adminClient(c, token)}
	id, err := server.Begin(ctx)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return backupStopped(ctx, c, copying, err)
	}
	if err != nil {
		return backup.Summary{}, err
	}
	return backupServed(ctx, c, copying, server, id)
}

// adminClient asks the server on this machine.
func adminClient(c boot.Config, token string) *adminclient.Client {
	var dialTLS func(ctx context.Context, network, addr string) (net.Conn, error)
	if c.AdminTLSCerts != "" {
		dialTLS = c.DialAdmin
	}
	return adminclient.New(c.AdminAddr, token, dialTLS)
}

// inside says whether a path, which may be missing yet, is a directory or leads
// into it.
func inside(path, dir string) bool {
	path, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	base, err := os.Stat(dir)
	if err != nil {
		return false
	}
	for {
		if at, err := os.Stat(path); err == nil && os.SameFile(at, base) {
			return true
		}
		above := filepath.Dir(path)
		if above == path {
			return false
		}
		path = above
	}
}

// refuseBackup refuses to serve from the directory of a backup: what was pushed
// to it would make its checksums, and the next backup, wrong.
func refuseBackup(c boot.Config) error {
	if !c.Embedded() || missing(filepath.Join(c.DataDir, backup.SumsFile)) {
		return nil
	}
	return fmt.Errorf("data_dir %s is a backup. Restore it to another directory, and serve that: berth restore %s --data-dir DIR", c.DataDir, c.DataDir)
}

// backupServed copies the snapshot that the server has made, and what it names,
// while the server deletes nothing.
func backupServed(ctx context.Context, c boot.Config, copying backup.Copy, server *backup.Client, id string) (backup.Summary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		cancel(server.KeepRenewing(ctx, id))
	}()
	sum, err := backupBeside(ctx, c, copying, id)
	cancel(nil)
	<-renewed
	return sum, errors.Join(err, server.End(context.WithoutCancel(ctx), id))
}

func backupBeside(ctx context.Context, c boot.Config, copying backup.Copy, id string) (backup.Summary, error) {
	copying.Snapshot = func(ctx context.Context, file string) error {
		err := backup.CopyFile(ctx, filepath.Join(c.DataDir, backup.SnapshotPath(id)), file)
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("data_dir %s is not that of the server at %s: %w", c.DataDir, c.AdminAddr, err)
		}
		return err
	}
	blobs, err := besideServer(ctx, c)
	if err != nil {
		return backup.Summary{}, err
	}
	copying.Blobs = blobs
	sum, err := copying.Run(ctx)
	return sum, errors.Join(err, blobs.Close())
}

// besideServer opens the blobs to read them, while a server may have them open.
func besideServer(ctx context.Context, c boot.Config) (blobStore, error) {
	if c.Blobs.IsZero() {
		return fsblob.Open(blobDir(c), fsblob.Options{Beside: true})
	}
	return s3blob.Open(ctx, c.Blobs.Reveal(), s3blob.Options{ReadOnly: true})
}

// backupStopped copies what no server has open, and keeps servers from it.
func backupStopped(ctx context.Context, c boot.Config, copying backup.Copy, refused error) (backup.Summary, error) {
	s, err := openExisting(ctx, c)
	if err != nil {
		return backup.Summary{}, fmt.Errorf("no server answers at admin_addr %s; if one runs, set admin_addr as it has it (%w). Without a server: %w", c.AdminAddr, refused, err)
	}
	err = s.compareToCheck(ctx, c)
	var sum backup.Summary
	if err == nil {
		m, ok := s.meta.(snapshotter)
		if !ok {
			return sum, errors.Join(errNotEmbedded, s.close())
		}
		copying.Snapshot, copying.Blobs = m.Snapshot, s.blobs
		sum, err = copying.Run(ctx)
	}
	return sum, errors.Join(err, s.close())
}

// readOperatorToken reads the token that a server has made, or was given.
func readOperatorToken(c boot.Config) (string, error) {
	if !c.OperatorToken.IsZero() {
		return c.OperatorToken.Reveal(), nil
	}
	text, err := os.ReadFile(filepath.Join(c.DataDir, operatorTokenFile))
	if err != nil {
		return "", fmt.Errorf("the operator token of the server is needed; it is not set, and not in data_dir: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Restore makes the data directory of the configuration of a backup, and checks
// it. found gets what is wrong with what was restored.
func Restore(ctx context.Context, c boot.Config, r backup.Restore, found func(meta.Finding)) (backup.Summary, error) {
	if !c.Embedded() {
		return backup.Summary{}, errNotEmbedded
	}
	if !c.Blobs.IsZero() {
		return backup.Summary{}, errors.New("blobs: a backup is restored to files below data_dir; unset it")
	}
	r.To = c.DataDir
	sum, err := r.Run(ctx)
	if err != nil {
		return sum, err
	}
	if err := AcceptRestored(ctx, c, slog.New(slog.DiscardHandler)); err != nil { // it would tell the operator to unset what is not set
		return sum, err
	}
	_, err = Check(ctx, c, false, nil, found)
	return sum, err
}

// SealedPassword names an upstream of the data directory whose password needs the
// file secret-key, which is not there; empty for none.
func SealedPassword(ctx context.Context, c boot.Config) (string, error) {
	if !c.SecretKey.IsZero() {
		return "", nil
	}
	s, err := openExisting(ctx, c)
	if err != nil {
		return "", err
	}
	name, err := sealedPassword(ctx, s.meta)
	return name, errors.Join(err, s.close())
}

// SecretKeyPath is the file of the key of stored passwords.
func SecretKeyPath(c boot.Config) string { return filepath.Join(c.DataDir, secretKeyFile) }
