package metatest

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testUploads(t *testing.T, open Open) {
	t.Run("grow by compare-and-set", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		ctx := t.Context()
		made, err := w.Store.CreateUpload(ctx, r, oci.SHA512)
		w.must(err)
		want := meta.Upload{
			ID: made.ID, Repo: r, State: meta.UploadOpen, Algorithm: oci.SHA512,
			Stage:     blob.Stage{Key: blob.Key{Tenant: int64(w.tenant), Incarnation: made.Stage.Key.Incarnation}},
			ExpiresAt: w.Now().Add(meta.DefaultLifetimes.UploadTTL),
		}
		w.sameUpload(made, want)
		found, err := w.Store.FindUpload(ctx, r, made.ID)
		w.must(err)
		w.sameUpload(found, want)
		if state := w.objects()[made.Stage.Key]; state != 'S' {
			t.Errorf("the object of a new session is in state %q", state)
		}

		w.Advance(time.Hour)
		taken, err := w.Store.TakeUpload(ctx, r, made.ID, 0)
		w.must(err)
		want.Epoch, want.ExpiresAt = 1, w.Now().Add(meta.DefaultLifetimes.UploadTTL)
		w.sameUpload(taken, want)

		grown, err := w.Store.AdvanceUpload(ctx, taken, blob.Progress{Offset: 5, State: []byte("state at 5")})
		w.must(err)
		want.HashState, want.Stage.Offset = []byte("state at 5"), 5
		w.sameUpload(grown, want)
		found, err = w.Store.FindUpload(ctx, r, made.ID)
		w.must(err)
		w.sameUpload(found, want)
	})
	t.Run("R48 a repeated chunk is told the true offset", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		u := w.stage(r, "12345")
		for _, start := range []int64{0, 4, 6} {
			_, err := w.Store.TakeUpload(t.Context(), r, u.ID, start)
			w.refused(err, fault.OutOfRange, fault.BlobUploadInvalid)
			if got := fault.From(err).Offset; got != 5 {
				t.Errorf("start %d is told offset %d, want 5", start, got)
			}
		}
		again, err := w.Store.TakeUpload(t.Context(), r, u.ID, -1)
		w.must(err)
		if again.Stage.Offset != 5 || again.Epoch != u.Epoch+1 {
			t.Errorf("taken over at %d with epoch %d", again.Stage.Offset, again.Epoch)
		}
	})
	t.Run("C6 an older epoch records nothing", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		ctx := t.Context()
		old := w.stage(r, "12345")
		now, err := w.Store.TakeUpload(ctx, r, old.ID, 5)
		w.must(err)
		_, err = w.Store.AdvanceUpload(ctx, old, blob.Progress{Offset: 9})
		w.fenced(err, 5)
		w.fenced(w.Store.IntendTail(ctx, old, uuid.New()), 5)
		w.fenced(w.Store.RecordMultipart(ctx, old, "m"), 5)
		_, err = w.Store.SealUpload(ctx, old, digestOf("12345"))
		w.fenced(err, 5)
		_, err = w.Store.AdvanceUpload(ctx, now, blob.Progress{Offset: 6})
		w.must(err)
	})
	t.Run("R47 of two writers one wins each offset", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		u, err := w.Store.CreateUpload(t.Context(), r, oci.SHA256)
		w.must(err)
		const steps = 25
		var won [2]int64
		var both sync.WaitGroup
		for i := range won {
			both.Go(func() {
				for range steps {
					taken, err := w.Store.TakeUpload(t.Context(), r, u.ID, -1)
					if err != nil {
						t.Error(err)
						return
					}
					_, err = w.Store.AdvanceUpload(t.Context(), taken, blob.Progress{Offset: taken.Stage.Offset + 1})
					switch {
					case err == nil:
						won[i]++
					case !errors.Is(err, blob.ErrFenced):
						t.Error(err)
					}
				}
			})
		}
		both.Wait()
		found, err := w.Store.FindUpload(t.Context(), r, u.ID)
		w.must(err)
		if found.Stage.Offset != won[0]+won[1] || found.Epoch != 2*steps {
			t.Errorf("offset %d and epoch %d after %v acknowledged steps", found.Stage.Offset, found.Epoch, won)
		}
	})
	t.Run("keep parts and tails", func(t *testing.T) { testParts(t, open) })
	t.Run("C5 are found only in their own repository", func(t *testing.T) {
		w := newWorld(t, open)
		victim := w.stage(w.repo("app"), "12345")
		w.push(w.repo("other"), "x")
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		for _, r := range []meta.Repo{
			w.repo("other"), w.repo("none"), other.repo("app"),
			{Tenant: other.tenant, Registry: w.registry, Name: "app"},
			{Tenant: w.tenant, Registry: other.registry, Name: "app"},
		} {
			w.noUpload(r, victim.ID, victim)
		}
		w.noUpload(victim.Repo, uuid.New(), victim)
		sealed, err := w.Store.SealUpload(t.Context(), victim, digestOf("12345"))
		w.must(err)
		_, err = w.Store.CommitUpload(t.Context(), cause(), sealed, false)
		w.must(err)
	})
	t.Run("cancelled ones are unknown", func(t *testing.T) {
		w := newWorld(t, open)
		u := w.stage(w.repo("app"), "12345")
		w.must(w.Store.CancelUpload(t.Context(), u.Repo, u.ID))
		w.noUpload(u.Repo, u.ID, u)
		if state := w.objects()[u.Stage.Key]; state != 'D' {
			t.Errorf("the object of a cancelled session is in state %q", state)
		}
		w.consistent()
	})
	t.Run("sealed ones take only their digest", func(t *testing.T) {
		w := newWorld(t, open)
		ctx := t.Context()
		u := w.stage(w.repo("app"), "12345")
		first, err := w.Store.SealUpload(ctx, u, digestOf("12345"))
		w.must(err)
		if first.State != meta.UploadSealed || first.Digest != digestOf("12345") || first.Epoch != u.Epoch+1 {
			t.Errorf("sealed: %+v", first)
		}
		_, err = w.Store.TakeUpload(ctx, u.Repo, u.ID, -1)
		w.refused(err, fault.OutOfRange, fault.BlobUploadInvalid)
		_, err = w.Store.AdvanceUpload(ctx, first, blob.Progress{Offset: 6})
		w.fenced(err, 5)
		_, err = w.Store.SealUpload(ctx, u, digestOf("other"))
		w.refused(err, fault.Invalid, fault.DigestInvalid)

		// The client repeats its PUT, which fences the first one.
		second, err := w.Store.SealUpload(ctx, u, digestOf("12345"))
		w.must(err)
		_, err = w.Store.CommitUpload(ctx, cause(), first, false)
		w.fenced(err, 5)
		_, err = w.Store.CommitUpload(ctx, cause(), second, false)
		w.must(err)
	})
	t.Run("idle ones expire", func(t *testing.T) {
		w := newWorld(t, open)
		idle, busy := w.stage(w.repo("app"), "idle"), w.stage(w.repo("app"), "busy")
		sealed, err := w.Store.SealUpload(t.Context(), w.stage(w.repo("app"), "sealed"), digestOf("sealed"))
		w.must(err)
		w.Advance(meta.DefaultLifetimes.UploadTTL - time.Second)
		busy, err = w.Store.TakeUpload(t.Context(), busy.Repo, busy.ID, -1)
		w.must(err)
		w.Advance(2 * time.Second)
		if n := w.twice(w.Store.ReapUploads); n != 2 {
			t.Errorf("reaped %d; want 2", n)
		}
		w.noUpload(idle.Repo, idle.ID, idle)
		w.noUpload(idle.Repo, sealed.ID, sealed)
		_, err = w.Store.AdvanceUpload(t.Context(), busy, blob.Progress{Offset: 5})
		w.must(err)
		w.collectAll()
		if left := w.objects(); len(left) != 0 {
			t.Errorf("objects after all sessions ended: %v", left)
		}
		w.consistent()
	})
}

// testParts takes a session through multipart storage (protocol section 4, S3).
func testParts(t *testing.T, open Open) {
	w := newWorld(t, open)
	ctx := t.Context()
	u, err := w.Store.CreateUpload(ctx, w.repo("app"), oci.SHA256)
	w.must(err)
	u, err = w.Store.TakeUpload(ctx, u.Repo, u.ID, 0)
	w.must(err)
	w.must(w.Store.RecordMultipart(ctx, u, "m1"))
	first, second := uuid.New(), uuid.New()
	w.must(w.Store.IntendTail(ctx, u, first))
	u, err = w.Store.AdvanceUpload(ctx, u, blob.Progress{Offset: 3, Tail: blob.Tail{Incarnation: first, Size: 3}})
	w.must(err)

	w.must(w.Store.IntendTail(ctx, u, second))
	u, err = w.Store.AdvanceUpload(ctx, u, blob.Progress{
		Offset: 21, State: []byte("h"),
		Parts: []blob.Part{{Number: 1, Size: 10, ETag: `"a"`}, {Number: 2, Size: 10, ETag: "b"}},
		Tail:  blob.Tail{Incarnation: second, Size: 1},
	})
	w.must(err)
	found, err := w.Store.FindUpload(ctx, u.Repo, u.ID)
	w.must(err)
	u.Stage.Multipart = "m1"
	w.sameUpload(found, u)
	tail := func(id uuid.UUID) byte { return w.objects()[blob.Key{Tenant: int64(w.tenant), Incarnation: id}] }
	if tail(first) != 'D' || tail(second) != 'S' {
		t.Errorf("the replaced tail is in state %q, the new one in %q", tail(first), tail(second))
	}
	_, err = w.Store.AdvanceUpload(ctx, u, blob.Progress{Offset: 22, Tail: blob.Tail{Incarnation: uuid.New(), Size: 2}})
	if !errors.Is(err, blob.ErrFenced) {
		t.Errorf("a tail that was not intended: %v", err)
	}
	u, err = w.Store.AdvanceUpload(ctx, u, blob.Progress{Offset: 30, Parts: []blob.Part{{Number: 3, Size: 10, ETag: "c"}}})
	w.must(err)
	found, err = w.Store.FindUpload(ctx, u.Repo, u.ID)
	w.must(err)
	w.sameUpload(found, u)
	if len(found.Stage.Parts) != 3 || tail(second) != 'D' {
		t.Errorf("parts %v, the tail that became one is in state %q", found.Stage.Parts, tail(second))
	}

	// A tail that was intended and never recorded is found by the reaper.
	lost := uuid.New()
	w.must(w.Store.IntendTail(ctx, u, lost))
	for range 3 {
		w.Advance(meta.DefaultLifetimes.UploadTTL - time.Minute)
		u, err = w.Store.TakeUpload(ctx, u.Repo, u.ID, -1)
		w.must(err)
		_, err = w.Store.ReapUploads(ctx, 10)
		w.must(err)
	}
	if tail(lost) != 'D' || w.objects()[u.Stage.Key] != 'S' {
		t.Errorf("the lost tail is in state %q, the session's object in %q", tail(lost), w.objects()[u.Stage.Key])
	}

	// What is condemned carries the store's own id, so that it can be aborted.
	w.must(w.Store.CancelUpload(ctx, u.Repo, u.ID))
	w.Advance(meta.DefaultLifetimes.StagedDelay + time.Second)
	due, err := w.Store.ClaimCondemned(ctx, 10)
	w.must(err)
	multiparts := map[blob.Key]string{}
	for _, c := range due {
		multiparts[c.Key] = c.Multipart
	}
	if len(due) != 4 || multiparts[u.Stage.Key] != "m1" {
		t.Errorf("condemned: %v", multiparts)
	}
	w.consistent()
}

func (w world) sameUpload(got, want meta.Upload) {
	w.t.Helper()
	for _, u := range []*meta.Upload{&got, &want} {
		if len(u.HashState) == 0 {
			u.HashState = nil
		}
		if len(u.Stage.Parts) == 0 {
			u.Stage.Parts = nil
		}
		u.ExpiresAt = u.ExpiresAt.UTC()
	}
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("upload is\n%+v, want\n%+v", got, want)
	}
}

// fenced fails the test unless err says that another writer has the session,
// which stands at offset.
func (w world) fenced(err error, offset int64) {
	w.t.Helper()
	w.refused(err, fault.OutOfRange, fault.BlobUploadInvalid)
	if got := fault.From(err).Offset; !errors.Is(err, blob.ErrFenced) || got != offset {
		w.t.Errorf("%v tells offset %d, want %d", err, got, offset)
	}
}

// noUpload fails the test unless every verb says that r has no session id. held
// is the session as its holder knows it.
func (w world) noUpload(r meta.Repo, id uuid.UUID, held meta.Upload) {
	w.t.Helper()
	ctx := w.t.Context()
	held.Repo, held.ID = r, id
	_, find := w.Store.FindUpload(ctx, r, id)
	_, take := w.Store.TakeUpload(ctx, r, id, -1)
	_, advance := w.Store.AdvanceUpload(ctx, held, blob.Progress{Offset: held.Stage.Offset + 1})
	_, seal := w.Store.SealUpload(ctx, held, digestOf("12345"))
	_, commit := w.Store.CommitUpload(ctx, cause(), held, false)
	for verb, err := range map[string]error{
		"find": find, "take": take, "advance": advance, "seal": seal, "commit": commit,
		"intend": w.Store.IntendTail(ctx, held, uuid.New()), "multipart": w.Store.RecordMultipart(ctx, held, "m"),
		"cancel": w.Store.CancelUpload(ctx, r, id),
	} {
		if !fault.Is(err, fault.BlobUploadUnknown) || fault.KindOf(err) != fault.NotFound {
			w.t.Errorf("%s: %v, want BLOB_UPLOAD_UNKNOWN", verb, err)
		}
	}
}
