package pgmeta

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/metatest"
	"github.com/berth-registry/berth/pkg/oci"
)

func BenchmarkFindManifestByTag(b *testing.B) {
	s, r := filled(b, Options{})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.FindManifest(b.Context(), r, oci.Reference{Tag: "v1"}); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkFindCachedTag(b *testing.B) {
	s, r := filled(b, Options{})
	cached := cachedImage(b, s, r)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.FindCachedTag(b.Context(), cached, "v0"); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkRecordPulls is 100 pulls, none of which has to be written down.
func BenchmarkRecordPulls(b *testing.B) {
	s, r := filled(b, Options{})
	cached := cachedImage(b, s, r)
	pulls := slices.Repeat([]meta.CachedPull{{Repo: cached, Digest: imagePut(cached, "config", "v0").Manifest.Digest, Keep: time.Hour}}, 100)
	for b.Loop() {
		if err := s.RecordPulls(b.Context(), pulls); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkCommitUpload is the transaction that makes a blob live, by many
// clients of one tenant.
func BenchmarkCommitUpload(b *testing.B) {
	s, r := filled(b, Options{})
	sessions := make([]meta.Upload, b.N)
	for i := range sessions {
		sessions[i] = sealed(b, s, r, fmt.Sprintf("content %d", i))
	}
	var next atomic.Int64
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.CommitUpload(b.Context(), meta.Cause{Op: uuid.New()}, sessions[next.Add(1)-1], false); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkPutManifest(b *testing.B) {
	s, r := filled(b, Options{})
	var next atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := s.PutManifest(b.Context(), imagePut(r, "config", fmt.Sprintf("v%d", next.Add(1)))); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkSearch(b *testing.B) { metatest.BenchmarkSearch(b, newStock(b).open) }
