package assemble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

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

	// What a server is asked besides, by a process that serves from it.
	metrics []prometheus.Collector
	durable func(context.Context) error // fails where an acknowledged push may be lost
}

type blobStore interface {
	blob.Store
	io.Closer
}

func openStores(ctx context.Context, c boot.Config, traces trace.TracerProvider) (stores, error) {
	s, err := openMeta(ctx, c, traces)
	if err != nil {
		return stores{}, err
	}
	if s.blobs, err = openBlobs(ctx, c); err != nil {
		return stores{}, errors.Join(err, s.meta.Close())
	}
	return s, nil
}

// openMeta returns stores without blobs.
func openMeta(ctx context.Context, c boot.Config, traces trace.TracerProvider) (stores, error) {
	if c.Meta.IsZero() {
		m, err := sqlitemeta.Open(ctx, sqlitemeta.Options{Dir: c.DataDir, Lifetimes: lifetimes(c), MaxStaged: int64(c.MaxStagedBytes)})
		if err != nil {
			return stores{}, err
		}
		return stores{meta: m, durable: func(context.Context) error { return nil }}, nil
	}
	m, err := pgmeta.Open(ctx, pgmeta.Options{URL: c.Meta.Reveal(), Lifetimes: lifetimes(c), MaxStaged: int64(c.MaxStagedBytes), Traces: traces})
	if err != nil {
		return stores{}, err
	}
	return stores{meta: m, durable: m.CheckDurable, metrics: []prometheus.Collector{m.Collector()}}, nil
}

func openBlobs(ctx context.Context, c boot.Config) (blobStore, error) {
	if c.Blobs.IsZero() {
		return fsblob.Open(filepath.Join(c.DataDir, "blobs"), fsblob.Options{MinFree: int64(c.MinFree)})
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
	s, err := openStores(ctx, c, nil)
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
