package sqlitemeta

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/metatest"
	"github.com/berth-registry/berth/pkg/oci"
)

func benchmarkFindManifest(b *testing.B, ref func(oci.Digest) oci.Reference) {
	s, r := filled(b, Options{})
	at := ref(putImage(b, s, r, pushBlob(b, s, r, "config"), "latest"))
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.FindManifest(b.Context(), r, at); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkFindManifestByTag(b *testing.B) {
	benchmarkFindManifest(b, func(oci.Digest) oci.Reference { return oci.Reference{Tag: "latest"} })
}

func BenchmarkFindManifestByDigest(b *testing.B) {
	benchmarkFindManifest(b, func(d oci.Digest) oci.Reference { return oci.Reference{Digest: d} })
}

func BenchmarkFindBlob(b *testing.B) {
	s, r := filled(b, Options{})
	d := pushBlob(b, s, r, "content").Digest
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.FindBlob(b.Context(), r, d); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkPushBlob is a whole session in four transactions, by many clients:
// each group of them shares an fsync.
func BenchmarkPushBlob(b *testing.B) {
	s, r := filled(b, Options{})
	var next atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			content := fmt.Sprintf("content %d", next.Add(1))
			u, err := s.CreateUpload(b.Context(), r, oci.SHA256)
			if err == nil {
				u, err = s.AdvanceUpload(b.Context(), u, blob.Progress{Offset: int64(len(content))})
			}
			if err == nil {
				u, err = s.SealUpload(b.Context(), u, oci.DigestOf(oci.SHA256, []byte(content)))
			}
			if err == nil {
				_, err = s.CommitUpload(b.Context(), meta.Cause{Op: uuid.New()}, u, false)
			}
			if err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkListTags reads a page from the middle of lists of two lengths; both
// must cost the same.
func BenchmarkListTags(b *testing.B) {
	for _, length := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			s, r := filled(b, Options{})
			d := putImage(b, s, r, pushBlob(b, s, r, "config"))
			err := s.write(b.Context(), func(tx *tx) error {
				repo, err := tx.repository(r, hosted)
				if err != nil {
					return err
				}
				for i := range length {
					if _, err := tx.exec(moveTag, r.Tenant, repo.id, fmt.Sprintf("tag%06d", i), d.Bytes(), tx.now); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			page := meta.Page{After: fmt.Sprintf("tag%06d", length/2), Size: 100}
			for b.Loop() {
				if tags, err := s.ListTags(b.Context(), r, page); err != nil || len(tags) != 100 {
					b.Fatal(len(tags), err)
				}
			}
		})
	}
}

func BenchmarkSearch(b *testing.B) { metatest.BenchmarkSearch(b, harness) }

// BenchmarkPutManifest is a push of a new tag, by many clients.
func BenchmarkPutManifest(b *testing.B) {
	s, r := filled(b, Options{})
	config := pushBlob(b, s, r, "config")
	var next atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			putImage(b, s, r, config, fmt.Sprintf("v%d", next.Add(1)))
		}
	})
}
