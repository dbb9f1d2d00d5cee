package janitor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/pgmeta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/janitor"
	"github.com/berth-registry/berth/tools/testserver"
)

// BenchmarkW138_PullsWhileARunDeletes finds manifests as pulls do, while nothing else
// happens, and while a run deletes at the default rate.
func BenchmarkW138_PullsWhileARunDeletes(b *testing.B) {
	b.Run("embedded", func(b *testing.B) {
		s, err := sqlitemeta.Open(b.Context(), sqlitemeta.Options{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		pullsBesideRun(b, s)
	})
	b.Run("postgres", func(b *testing.B) {
		s, err := pgmeta.Open(b.Context(), pgmeta.Options{URL: testserver.StartPostgres(b).URL()})
		if err != nil {
			b.Fatal(err)
		}
		pullsBesideRun(b, s)
	})
}

func pullsBesideRun(b *testing.B, s meta.Store) {
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	const images, kept = 20_000, 10
	repo := fillVersions(b, s, images)
	pull := func(b *testing.B) {
		b.Helper()
		for i := 0; b.Loop(); i++ {
			if _, err := s.FindManifest(b.Context(), repo, oci.Reference{Tag: fmt.Sprint("v", images-1-i%kept)}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("alone", pull)
	b.Run("beside", func(b *testing.B) {
		p, err := s.CreateRetentionPolicy(b.Context(), fronttest.By(), meta.RetentionPolicy{
			Tenant: repo.Tenant, Slug: "newest", Enforced: true, MaxDeletions: images, Policy: retention.Policy{Rules: newest(kept)},
		})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.RunRetentionPolicy(b.Context(), fronttest.By(), repo.Tenant, p.Slug); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		var runs sync.WaitGroup
		runs.Go(func() { _, _ = janitor.NewRetainer(janitor.RetainConfig{Meta: s, Rate: 20}).Step(ctx) })
		deletions := func() int64 {
			p, err = s.FindRetentionPolicy(b.Context(), repo.Tenant, "newest")
			if err != nil {
				b.Fatal(err)
			}
			return p.Run.Deletions
		}
		await.True(b, time.Minute, "the run to delete", func() bool { return deletions() > 0 })
		before, began := deletions(), time.Now()
		pull(b)
		b.StopTimer()
		b.ReportMetric(float64(deletions()-before)/time.Since(began).Seconds(), "deletions/s")
		cancel()
		runs.Wait()
		if err := s.DeleteRetentionPolicy(b.Context(), fronttest.By(), repo.Tenant, p.Slug, p.Version); err != nil {
			b.Fatal(err)
		}
	})
}

// fillVersions makes a repository of so many images, each under a tag of its own.
func fillVersions(b *testing.B, s meta.Store, images int) meta.Repo {
	b.Helper()
	of, err := s.CreateTenant(b.Context(), fronttest.By(), meta.Tenant{Slug: "acme"}, tenant.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	registry, err := s.CreateRegistry(b.Context(), fronttest.By(), meta.Registry{Tenant: of.ID, Slug: "dev"})
	if err != nil {
		b.Fatal(err)
	}
	repo := meta.Repo{Tenant: of.ID, Registry: registry.ID, Name: "app"}
	layer := ocitest.Layer([]byte("layer"))
	for i := range images {
		content := ocitest.Extra{Annotations: map[string]string{"n": fmt.Sprint(i)}}.Manifest(ocitest.Empty(), layer)
		parsed, err := oci.ParseManifest("", content.Bytes)
		if err != nil {
			b.Fatal(err)
		}
		put := meta.ManifestPut{
			Repo: repo, Manifest: meta.Manifest{Digest: content.Digest, MediaType: parsed.MediaType, Payload: content.Bytes}, Parsed: parsed,
			Tags: []string{fmt.Sprint("v", i)}, By: fronttest.By(), AllowMissingReferences: true,
		}
		if err := s.PutManifest(b.Context(), put); err != nil {
			b.Fatal(err)
		}
	}
	return repo
}
