package janitor_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/cacheroom"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/janitor"
)

// cached stores a blob in the cache of an upstream.
func (w *world) cached(content string) meta.Blob {
	w.t.Helper()
	u, err := w.Meta.FindUpstream(w.t.Context(), w.repo.Tenant, "hub")
	if err != nil {
		u, err = w.Meta.CreateUpstream(w.t.Context(), fronttest.By(), meta.Upstream{
			Tenant: w.repo.Tenant, Slug: "hub", Settings: meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: "https://hub.example"}, Keep: 24 * time.Hour},
		})
	}
	w.must(err)
	repo := meta.Repo{Tenant: u.Tenant, Registry: u.Cache, Name: "library/app"}
	sealed, err := w.Meta.SealUpload(w.t.Context(), w.StageBlob(repo, []byte(content)), oci.DigestOf(oci.SHA256, []byte(content)))
	w.must(err)
	_, err = w.Blobs.Seal(w.t.Context(), sealed.Stage)
	w.must(err)
	b, err := w.Meta.CommitUpload(w.t.Context(), meta.Cause{}, sealed, false)
	w.must(err)
	return b
}

// TestT40_TrimFreesTheDisk trims a cache that is over its bound, down to its files, and
// leaves what was pushed.
func TestT40_TrimFreesTheDisk(t *testing.T) {
	w := newWorld(t)
	w.image("pushed layer")
	before := len(w.files())
	for _, content := range []string{"one", "two", "three"} {
		w.cached(content)
		w.now = w.now.Add(time.Hour)
	}
	recorded := 0
	j := janitor.New(janitor.Config{
		Meta: w.Meta, Blobs: w.Blobs, Log: slog.New(slog.DiscardHandler),
		Room:        cacheroom.New(cacheroom.Config{Meta: w.Meta, Max: 1, Log: slog.New(slog.DiscardHandler)}),
		RecordPulls: func(context.Context) { recorded++ },
	})
	for range 3 {
		w.must(j.Trim(t.Context()))
		w.now = w.now.Add(time.Second)
	}
	if n := len(w.files()); n != before+3 {
		t.Errorf("%d files before what was evicted is due, want %d", n, before+3)
	}
	w.now = w.now.Add(meta.DefaultLifetimes.Evicted)
	w.must(j.Trim(t.Context()))
	if n := len(w.files()); n != before {
		t.Errorf("%d files are left, want the %d that were pushed", n, before)
	}
	if recorded == 0 {
		t.Error("pulls were not recorded before the eviction")
	}
}
