package janitor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/janitor"
)

// BenchmarkW138_PullsWhileARunDeletes finds manifests as pulls do, while nothing else
// happens, and while a run deletes at the default rate.
func BenchmarkW138_PullsWhileARunDeletes(b *testing.B) {
	d := fronttest.NewWith(b, sqlitemeta.Options{})
	repo := fronttest.Repo(d.Tenant("acme", tenant.Settings{}), "app")
	d.PutBlob(repo, []byte("layer"))
	d.PutBlob(repo, []byte("{}"))
	const images = 2000
	for i := range images {
		extra := ocitest.Extra{Annotations: map[string]string{"n": fmt.Sprint(i)}}
		d.PutManifest(repo, extra.Manifest(ocitest.Empty(), ocitest.Layer([]byte("layer"))).Bytes, fmt.Sprint("v", i))
	}
	pull := func(b *testing.B) {
		b.Helper()
		for i := 0; b.Loop(); i++ {
			if _, err := d.Meta.FindManifest(b.Context(), repo, oci.Reference{Tag: fmt.Sprint("v", images-1-i%10)}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("alone", pull)
	b.Run("beside", func(b *testing.B) {
		p := meta.RetentionPolicy{
			Tenant: repo.Tenant, Slug: fmt.Sprint("policy-", b.N), Enforced: true, MaxDeletions: images,
			Policy: retention.Policy{Rules: newest(10)},
		}
		if _, err := d.Meta.CreateRetentionPolicy(b.Context(), fronttest.By(), p); err != nil {
			b.Fatal(err)
		}
		if _, err := d.Meta.RunRetentionPolicy(b.Context(), fronttest.By(), repo.Tenant, p.Slug); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		var runs sync.WaitGroup
		runs.Go(func() { _, _ = janitor.NewRetainer(janitor.RetainConfig{Meta: d.Meta, Rate: 20}).Step(ctx) })
		pull(b)
		cancel()
		runs.Wait()
		b.StopTimer()
		ran, err := d.Meta.FindRetentionPolicy(b.Context(), repo.Tenant, p.Slug)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(ran.Run.Deletions)/time.Since(ran.Run.BeganAt).Seconds(), "deletions/s")
	})
}
