package pgmeta

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
)

// TestW25_PurgesOfOneHistory: each change of a tag names two manifests, both of which are
// purged at once, without a deadlock.
func TestW25_PurgesOfOneHistory(t *testing.T) {
	url := migrated(t)
	t.Cleanup(func() { wantDeadlocks(t, url, 0) })
	s := open(t, Options{URL: url})
	r := fill(t, s)
	for range 10 {
		var both [2]meta.ManifestPut
		for i, content := range []string{"one", "two"} {
			pushBlob(t, s, r, content)
			both[i] = imagePut(r, content, "v1")
		}
		for i := range 90 {
			p := both[i%2]
			p.By = meta.Cause{Op: uuid.New()}
			if err := s.PutManifest(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		for _, p := range slices.Repeat(both[:], 3) {
			all.Go(func() {
				_, err := s.PurgeDigest(t.Context(), meta.DigestPurge{Tenant: r.Tenant, Digest: p.Manifest.Digest, Force: true, By: meta.Cause{Op: uuid.New()}})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}
