package metatest

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testCommits(t *testing.T, open Open) {
	t.Run("make the blob live", func(t *testing.T) {
		w := newWorld(t, open)
		u := w.stage(w.repo("app"), "12345")
		u, err := w.Store.SealUpload(t.Context(), u, digestOf("12345"))
		w.must(err)
		_, err = w.Store.FindTenantBlob(t.Context(), u)
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		b, err := w.Store.CommitUpload(t.Context(), cause(), u, false)
		w.must(err)
		if want := (meta.Blob{Digest: digestOf("12345"), Size: 5, Key: u.Stage.Key}); b != want {
			t.Errorf("committed %+v, want %+v", b, want)
		}
		for name, find := range map[string]func() (meta.Blob, error){
			"FindBlob":       func() (meta.Blob, error) { return w.Store.FindBlob(t.Context(), u.Repo, b.Digest) },
			"CheckBlob":      func() (meta.Blob, error) { return w.Store.CheckBlob(t.Context(), u.Repo, b.Digest) },
			"FindTenantBlob": func() (meta.Blob, error) { return w.Store.FindTenantBlob(t.Context(), u) },
		} {
			if got, err := find(); err != nil || got != b {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
		row, err := w.Store.FindObject(t.Context(), b.Key)
		w.must(err)
		if want := (meta.ObjectRow{Key: b.Key, State: 'L', Size: 5, Blob: b.Digest.String()}); row != want {
			t.Errorf("object %+v, want %+v", row, want)
		}
		if got := w.used("acme"); got != 5 {
			t.Errorf("charged %d", got)
		}
		w.consistent()
	})
	t.Run("take a blob of 0 bytes and one of sha512", func(t *testing.T) {
		w := newWorld(t, open)
		w.push(w.repo("app"), "")
		u := w.stage(w.repo("app"), "long")
		d := oci.DigestOf(oci.SHA512, []byte("long"))
		u, err := w.Store.SealUpload(t.Context(), u, d)
		w.must(err)
		_, err = w.Store.CommitUpload(t.Context(), cause(), u, false)
		w.must(err)
		b, err := w.Store.FindBlob(t.Context(), u.Repo, d)
		if err != nil || b.Digest != d || b.Size != 4 {
			t.Errorf("%+v, %v", b, err)
		}
	})
	t.Run("R8 repeated, answer the same and charge once", func(t *testing.T) {
		w := newWorld(t, open)
		u := w.stage(w.repo("app"), "12345")
		sealed, err := w.Store.SealUpload(t.Context(), u, digestOf("12345"))
		w.must(err)
		first, err := w.Store.CommitUpload(t.Context(), cause(), sealed, false)
		w.must(err)
		for range 3 {
			again, err := w.Store.SealUpload(t.Context(), u, digestOf("12345"))
			w.must(err)
			if again.State != meta.UploadCommitted {
				t.Fatalf("sealed again: %+v", again)
			}
			for _, session := range []meta.Upload{sealed, again} {
				b, err := w.Store.CommitUpload(t.Context(), cause(), session, false)
				if err != nil || b != first {
					t.Errorf("committed again: %+v, %v", b, err)
				}
			}
		}
		_, err = w.Store.SealUpload(t.Context(), u, digestOf("other"))
		w.refused(err, fault.Invalid, fault.DigestInvalid)
		if w.used("acme") != 5 || w.inState('L') != 1 || w.inState('D') != 0 {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		events, err := w.Store.ListEvents(t.Context(), w.tenant, meta.Page{Size: 100})
		w.must(err)
		pushes := 0
		for _, e := range events {
			if e.Verb == "blob.push" {
				pushes++
			}
		}
		if pushes != 1 {
			t.Errorf("%d pushes in the audit log", pushes)
		}

		// An hour later the session is forgotten.
		w.Advance(meta.DefaultLifetimes.Committed + time.Second)
		w.collect()
		w.noUpload(u.Repo, u.ID, sealed)
		w.consistent()
	})
	t.Run("repeated after the blob was deleted, say that it must be uploaded", func(t *testing.T) {
		w := newWorld(t, open)
		u, err := w.Store.SealUpload(t.Context(), w.stage(w.repo("app"), "12345"), digestOf("12345"))
		w.must(err)
		b, err := w.Store.CommitUpload(t.Context(), cause(), u, false)
		w.must(err)
		w.must(w.Store.DeleteBlob(t.Context(), cause(), u.Repo, b.Digest))
		_, err = w.Store.CommitUpload(t.Context(), cause(), u, false)
		w.refused(err, fault.NotFound, fault.BlobUploadUnknown)
	})
	t.Run("of known content keep the first object", func(t *testing.T) {
		w := newWorld(t, open)
		first := w.push(w.repo("one"), "12345")
		second := w.push(w.repo("two"), "12345")
		if first != second || w.used("acme") != 5 || w.inState('L') != 1 || w.inState('D') != 1 {
			t.Errorf("%+v and %+v, charged %d, objects %v", first, second, w.used("acme"), w.objects())
		}
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		theirs := other.push(other.repo("one"), "12345")
		if theirs.Key.Tenant == first.Key.Tenant || w.used("other") != 5 {
			t.Errorf("another tenant's blob is at %s, charged %d", theirs.Key, w.used("other"))
		}
		w.consistent()
	})
	t.Run("heal a suspect blob", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		lost := w.push(r, "12345")
		w.must(w.Store.MarkSuspect(t.Context(), lost))
		_, err := w.Store.CheckBlob(t.Context(), r, lost.Digest)
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		_, err = w.Store.MountBlob(t.Context(), cause(), r, w.repo("other"), lost.Digest)
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		w.refused(w.tryPut(r, w.image(nil, lost)), fault.NotFound, fault.ManifestBlobUnknown)
		sources, err := w.Store.FindSources(t.Context(), w.tenant, lost.Digest, 9)
		if err != nil || len(sources) != 0 {
			t.Errorf("sources of a suspect blob: %v, %v", sources, err)
		}

		healed := w.push(r, "12345")
		if healed.Key == lost.Key || w.objects()[lost.Key] != 'D' || w.objects()[healed.Key] != 'L' || w.used("acme") != 5 {
			t.Errorf("healed at %s, charged %d, objects %v", healed.Key, w.used("acme"), w.objects())
		}
		w.must(w.Store.MarkSuspect(t.Context(), lost)) // seen before it was healed
		got, err := w.Store.CheckBlob(t.Context(), r, lost.Digest)
		if err != nil || got != healed {
			t.Errorf("%+v, %v", got, err)
		}
		w.consistent()
	})
	t.Run("heal what was found wrong before", func(t *testing.T) {
		w := newWorld(t, open)
		wrong := w.push(w.repo("app"), "12345")
		u, err := w.Store.SealUpload(t.Context(), w.stage(w.repo("app"), "12345"), digestOf("12345"))
		w.must(err)
		healed, err := w.Store.CommitUpload(t.Context(), cause(), u, true)
		w.must(err)
		if healed.Key != u.Stage.Key || w.objects()[wrong.Key] != 'D' || w.used("acme") != 5 {
			t.Errorf("healed at %s, charged %d, objects %v", healed.Key, w.used("acme"), w.objects())
		}
		w.consistent()
	})
	t.Run("C14 stop at the quota", func(t *testing.T) {
		w := newWorld(t, open)
		quota := room(10, 1, 2)
		w.tenant, w.registry = w.addTenant("small", quota)
		r := w.repo("app")
		w.push(r, "1234567")
		u, err := w.Store.SealUpload(t.Context(), w.stage(r, "abcd"), digestOf("abcd"))
		w.must(err)
		_, err = w.Store.CommitUpload(t.Context(), cause(), u, false)
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		if fault.From(err).Detail != "quota exceeded" {
			t.Errorf("detail %v", fault.From(err).Detail)
		}
		_, err = w.Store.FindBlob(t.Context(), r, digestOf("abcd"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		w.push(r, "1234567") // charged already
		w.push(r, "abc")
		if got := w.used("small"); got != 10 {
			t.Errorf("charged %d", got)
		}

		// Room is given back when a blob is dropped, and the session continues.
		w.must(w.Store.DeleteBlob(t.Context(), cause(), r, digestOf("abc")))
		w.must(w.Store.DeleteBlob(t.Context(), cause(), r, digestOf("1234567")))
		w.Advance(time.Second)
		w.collect()
		if got := w.used("small"); got != 0 {
			t.Errorf("charged %d for nothing", got)
		}
		_, err = w.Store.CommitUpload(t.Context(), cause(), u, false)
		w.must(err)
		w.consistent()
	})
	t.Run("lose against the reaper", func(t *testing.T) {
		w := newWorld(t, open)
		u, err := w.Store.SealUpload(t.Context(), w.stage(w.repo("app"), "12345"), digestOf("12345"))
		w.must(err)
		w.Advance(meta.DefaultLifetimes.UploadTTL + time.Second)
		w.collect()
		_, err = w.Store.CommitUpload(t.Context(), cause(), u, false)
		w.refused(err, fault.NotFound, fault.BlobUploadUnknown)
		w.consistent()
	})
}
