package assemble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/services/janitor"
)

// stores are where an embedded deployment keeps everything: one directory,
// which no other process may have open.
type stores struct {
	meta  *sqlitemeta.Store
	blobs *fsblob.Store
}

func openStores(ctx context.Context, c boot.Config) (stores, error) {
	m, err := sqlitemeta.Open(ctx, sqlitemeta.Options{
		Dir: c.DataDir, Lifetimes: lifetimes(c), MaxStaged: int64(c.MaxStagedBytes),
	})
	if err != nil {
		return stores{}, err
	}
	b, err := fsblob.Open(filepath.Join(c.DataDir, "blobs"), fsblob.Options{})
	if err != nil {
		return stores{}, errors.Join(err, m.Close())
	}
	return stores{meta: m, blobs: b}, nil
}

func (s stores) close() error { return errors.Join(s.blobs.Close(), s.meta.Close()) }

func lifetimes(c boot.Config) meta.Lifetimes {
	l := meta.DefaultLifetimes
	l.UploadTTL = c.UploadTTL
	l.Grace = c.Grace
	l.DeleteDelay = c.DeleteDelay
	l.Quarantine = c.NameQuarantine
	return l
}

// Check examines everything the deployment keeps and reports each broken
// invariant. Nothing else may have the directory open meanwhile.
func Check(ctx context.Context, c boot.Config, deep bool, progress func(objects int64), report func(meta.Finding)) (janitor.Summary, error) {
	if _, err := os.Stat(c.DataDir); err != nil {
		return janitor.Summary{}, fmt.Errorf("data_dir %s: there is nothing to check: %w", c.DataDir, err)
	}
	s, err := openStores(ctx, c)
	if err != nil {
		return janitor.Summary{}, err
	}
	sum, err := janitor.Check{Meta: s.meta, Blobs: s.blobs, Deep: deep, Progress: progress}.Run(ctx, report)
	return sum, errors.Join(err, s.close())
}
