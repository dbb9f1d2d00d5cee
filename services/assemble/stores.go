package assemble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/pgmeta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/services/janitor"
)

// stores are where a deployment keeps everything: servers, or one directory
// that no other process may have open.
type stores struct {
	meta  meta.Store
	blobs blobStore
}

type blobStore interface {
	blob.Store
	io.Closer
}

func openStores(ctx context.Context, c boot.Config) (stores, error) {
	m, err := openMeta(ctx, c)
	if err != nil {
		return stores{}, err
	}
	b, err := openBlobs(ctx, c)
	if err != nil {
		return stores{}, errors.Join(err, m.Close())
	}
	return stores{meta: m, blobs: b}, nil
}

func openMeta(ctx context.Context, c boot.Config) (meta.Store, error) {
	if c.Meta.IsZero() {
		return sqlitemeta.Open(ctx, sqlitemeta.Options{Dir: c.DataDir, Lifetimes: lifetimes(c), MaxStaged: int64(c.MaxStagedBytes)})
	}
	return pgmeta.Open(ctx, pgmeta.Options{URL: c.Meta.Reveal(), Lifetimes: lifetimes(c), MaxStaged: int64(c.MaxStagedBytes)})
}

func openBlobs(ctx context.Context, c boot.Config) (blobStore, error) {
	if c.Blobs.IsZero() {
		return fsblob.Open(filepath.Join(c.DataDir, "blobs"), fsblob.Options{})
	}
	return s3blob.Open(ctx, c.Blobs.Reveal(), s3blob.Options{})
}

func (s stores) close() error { return errors.Join(s.blobs.Close(), s.meta.Close()) }

// What a redirect to the blob store leads to outlives it.
const _ = uint64(boot.MinDeleteDelay - blob.MaxPresignLife - 1)

func lifetimes(c boot.Config) meta.Lifetimes {
	l := meta.DefaultLifetimes
	l.UploadTTL = c.UploadTTL
	l.Grace = c.Grace
	l.DeleteDelay = c.DeleteDelay
	l.Quarantine = c.NameQuarantine
	return l
}

// Check examines everything the deployment keeps and reports each broken
// invariant. Servers may be in use meanwhile; a data directory must not.
func Check(ctx context.Context, c boot.Config, deep bool, progress func(objects int64), report func(meta.Finding)) (janitor.Summary, error) {
	if _, err := os.Stat(c.DataDir); err != nil && c.Embedded() {
		return janitor.Summary{}, fmt.Errorf("data_dir %s: there is nothing to check: %w", c.DataDir, err)
	}
	s, err := openStores(ctx, c)
	if err != nil {
		return janitor.Summary{}, err
	}
	sum, err := janitor.Check{Meta: s.meta, Blobs: s.blobs, Deep: deep, Progress: progress}.Run(ctx, report)
	return sum, errors.Join(err, s.close())
}

// Migrate brings the schema of the deployment's database forward.
func Migrate(ctx context.Context, c boot.Config) error {
	return pgmeta.Migrate(ctx, c.Meta.Reveal())
}
