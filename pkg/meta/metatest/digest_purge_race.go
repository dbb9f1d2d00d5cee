package metatest

import (
	"fmt"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// testPurgeRaces lets purges meet what brings the digest back.
func testPurgeRaces(t *testing.T, open Open) {
	t.Run("pushes", func(t *testing.T) {
		w := newWorld(t, open)
		for i := range 20 {
			r := w.repo("app")
			pushes := times(3, func(n int) {
				b, err := w.tryPush(r, "secret")
				if err == nil {
					err = w.tryPut(r, w.image(nil, b), fmt.Sprint(n))
				}
				ignore(t, err, fault.ManifestBlobUnknown, fault.BlobUploadUnknown, fault.BlobUploadInvalid)
			})
			purges := times(2, func(int) {
				_, err := w.tryPurge(digestOf("secret"), i%2 == 0)
				ignore(t, err, fault.NotEmpty)
			})
			together(append(pushes, purges...)...)
			w.consistent()
		}
		w.purgeDigest(digestOf("secret"))
		w.ended(digestOf("secret"))
	})
	t.Run("deletes and undeletes", func(t *testing.T) {
		w := newWorld(t, open)
		for range 10 {
			r := w.repo("app")
			m := w.pushImage(r, "v1", "config", "secret")
			index := w.put(r, w.index(m), "all")
			together(
				func() {
					ignore(t, w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: index.Digest, By: cause()}), fault.ManifestUnknown)
					ignore(t, w.tryDelete(r, m.Digest), fault.ManifestUnknown, fault.UnsupportedReason)
				},
				func() { ignore(t, w.undelete(r, m.Digest), fault.ManifestUnknown, fault.ManifestBlobUnknown) },
				func() {
					_, err := w.tryPurge(digestOf("secret"), true)
					ignore(t, err, fault.NotEmpty)
				},
				func() {
					_, err := w.tryPurge(m.Digest, true)
					ignore(t, err, fault.NotEmpty)
				},
				func() { w.fine(w.tryCollect()) },
			)
			w.consistent()
			w.purgeDigest(digestOf("secret"))
			w.ended(digestOf("secret"))
			w.ended(m.Digest)
		}
	})
	t.Run("a push after the answer, beside janitors", func(t *testing.T) {
		w := newWorld(t, open)
		for i := range 20 {
			r := w.repo("app")
			m := w.pushImage(r, "v1", "config", "secret")
			together(
				func() {
					w.purgeDigest(digestOf("secret"))
					w.pushImage(r, "v1", "config", "secret")
				},
				func() { w.fine(w.tryCollect()) },
				func() {
					_, err := w.Store.PurgeDeleted(t.Context(), 10)
					w.fine(err)
				},
			)
			if got := w.tagged(r, "v1"); got != m.Digest {
				t.Errorf("round %d: v1 is %q", i, got)
			}
			w.complete(r, m.Digest, "config", "secret")
			w.consistent()
		}
	})
}
