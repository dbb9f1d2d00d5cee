package sqlitemeta

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// TestS30_ATenantsQueueDelaysNoOther: of a hundred writes of one tenant and one of
// another, queued last, that one runs second at the latest, and joins no long one.
func TestS30_ATenantsQueueDelaysNoOther(t *testing.T) {
	s := open(t, Options{})
	held, release := make(chan struct{}), make(chan struct{})
	var order []int
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.write(t.Context(), func(*tx) error { close(held); <-release; return nil })
	})
	<-held
	const queue = 100
	for i := range queue {
		j := &job{alone: true, run: func(*tx) error { order = append(order, 1); return nil }}
		wg.Go(func() {
			if err := s.transact(t.Context(), 1, j); err != nil {
				t.Error(err)
			}
		})
		await.True(t, 10*time.Second, "it waits", func() bool { return s.Waiting() == i+1 })
	}
	wg.Go(func() {
		if err := s.writeFor(t.Context(), 2, func(*tx) error { order = append(order, 2); return nil }); err != nil {
			t.Error(err)
		}
	})
	await.True(t, 10*time.Second, "the other tenant waits", func() bool { return s.Waiting() == queue+1 })
	close(release)
	wg.Wait()
	if len(order) != queue+1 || order[0] != 2 && order[1] != 2 {
		t.Errorf("the other tenant's write was not among the first two of %v", order)
	}
}

// crowded is a repository with a subject that has n referrers.
func crowded(t *testing.T, n int) (*Store, meta.Repo, oci.Digest) {
	t.Helper()
	s, r := filled(t, Options{})
	config := oci.Descriptor{MediaType: "application/example", Digest: pushBlob(t, s, r, "config").Digest}
	put := func(payload []byte, parsed *oci.Manifest) oci.Digest {
		parsed.Blobs = []oci.Descriptor{config}
		d := oci.DigestOf(oci.SHA256, payload)
		if err := s.PutManifest(t.Context(), meta.ManifestPut{
			Repo: r, Parsed: parsed, By: meta.Cause{Op: uuid.New()},
			Manifest: meta.Manifest{Digest: d, MediaType: oci.MediaTypeImageManifest, Payload: payload},
		}); err != nil {
			t.Error(err)
		}
		return d
	}
	subject := put([]byte("subject"), &oci.Manifest{})
	var wg sync.WaitGroup
	for worker := range 16 { // they share commits
		wg.Go(func() {
			for i := worker; i < n; i += 16 {
				put(fmt.Append(nil, "referrer ", i), &oci.Manifest{Subject: &oci.Descriptor{MediaType: oci.MediaTypeImageManifest, Digest: subject}})
			}
		})
	}
	wg.Wait()
	return s, r, subject
}

// TestS31_StepsAreShort: the deletion of a subject with many referrers is many
// transactions, between which others write.
func TestS31_StepsAreShort(t *testing.T) {
	const n = 600
	s, r, subject := crowded(t, n)
	done := make(chan error, 1)
	go func() {
		done <- s.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: subject, By: meta.Cause{Op: uuid.New()}, Referrers: true})
	}()
	between := 0
	for ended := false; !ended; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			ended = true
		default:
			if err := s.writeFor(t.Context(), 77, func(*tx) error { return nil }); err != nil {
				t.Fatal(err)
			}
			between++
		}
	}
	if between < 5 {
		t.Errorf("%d writes of another tenant came in between", between)
	}
	for work := 1; work > 0; { // on a slow machine some are left to the janitor
		var err error
		if work, err = s.PurgeDeleted(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := s.ListReferrers(t.Context(), r, subject, "", meta.Page{Size: 1}); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestS32_AStuckWriterIsNotReady, and is when it moves again.
func TestS32_AStuckWriterIsNotReady(t *testing.T) {
	s := open(t, Options{})
	held, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- s.write(t.Context(), func(*tx) error { close(held); <-release; return nil }) }()
	<-held
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("held for a moment: %v", err)
	}
	await.True(t, 10*time.Second, "the writer is stuck", func() bool { return s.writer.stuck(time.Millisecond) != nil })
	s.writer.began.Store(time.Now().Add(-2 * stuckAfter).UnixNano())
	if err := s.Ping(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("held for long: %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	await.True(t, 10*time.Second, "the store is ready", func() bool { return s.Ping(t.Context()) == nil })
}

// TestS33_AStopEndsStepsAtTheNextOne, and the next process finishes them.
func TestS33_AStopEndsStepsAtTheNextOne(t *testing.T) {
	s, r, subject := crowded(t, 500)
	s.Quiesce()
	if err := s.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: subject, By: meta.Cause{Op: uuid.New()}, Referrers: true}); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		left, err := s.ListReferrers(context.Background(), r, subject, "", meta.Page{Size: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return len(left)
	}
	if n := count(); n == 0 {
		t.Error("all of them were deleted before the stop")
	}
	dir := s.opts.Dir
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	for steps := 0; ; steps++ {
		n, err := s.PurgeDeleted(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	if n := count(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// TestS35_ReferencesAreLinkedInSteps: a manifest of thousands of references is
// linked while others write, and whole when it is put; what it lacks is named, and
// then nothing of it is there.
func TestS35_ReferencesAreLinkedInSteps(t *testing.T) {
	s, r := filled(t, Options{})
	m := &oci.Manifest{MediaType: oci.MediaTypeImageManifest}
	m.Blobs = append(m.Blobs, oci.Descriptor{MediaType: "application/example", Digest: pushBlob(t, s, r, "config").Digest})
	for i := range 4 * aheadFrom {
		m.Blobs = append(m.Blobs, oci.Descriptor{MediaType: "application/example", Digest: oci.DigestOf(oci.SHA256, fmt.Append(nil, i))})
	}
	payload := []byte("many references")
	put := meta.ManifestPut{
		Repo: r, Parsed: m, By: meta.Cause{Op: uuid.New()}, Tags: []string{"many"},
		Manifest: meta.Manifest{Digest: oci.DigestOf(oci.SHA256, payload), MediaType: m.MediaType, Payload: payload},
	}
	here := oci.Reference{Digest: put.Manifest.Digest}
	if err := s.PutManifest(t.Context(), put); !fault.Is(err, fault.ManifestBlobUnknown) {
		t.Errorf("without its blobs: %v", err)
	}
	if _, err := s.FindManifest(t.Context(), r, here); !fault.Is(err, fault.ManifestUnknown) {
		t.Errorf("a refused manifest: %v", err)
	}
	put.AllowMissingReferences, put.By.Op = true, uuid.New()
	done := make(chan error, 1)
	go func() { done <- s.PutManifest(t.Context(), put) }()
	between := 0
	for ended := false; !ended; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			ended = true
		default:
			if err := s.writeFor(t.Context(), 77, func(*tx) error { return nil }); err != nil {
				t.Fatal(err)
			}
			between++
		}
	}
	if between < 3 {
		t.Errorf("%d writes of another tenant came in between", between)
	}
	var links, expiring int
	_, err := s.find(t.Context(), `SELECT (SELECT count(*) FROM manifest_blobs WHERE manifest = ?1), (SELECT count(*) FROM manifests WHERE expire_at IS NOT NULL)`,
		[]any{put.Manifest.Digest.Bytes()}, &links, &expiring)
	if err != nil || links != len(m.Blobs) || expiring != 0 {
		t.Errorf("%d links of %d, %d manifests expire, %v", links, len(m.Blobs), expiring, err)
	}
	if found := findings(t, s); len(found) > 0 {
		t.Error(found)
	}
}

// TestS35_APutThatBeganEnds, though its client leaves: with its event, or, when a
// later step refuses it, with nothing that can be read.
func TestS35_APutThatBeganEnds(t *testing.T) {
	var afterStep func()
	s, r := filled(t, Options{Observe: func(kind string, _ time.Duration, _ error) {
		if then := afterStep; then != nil && kind == "write" {
			afterStep = nil
			then()
		}
	}})
	blobs := holding(t, s, r, 4*aheadFrom)
	subject := mustPut(t, s, putOf(r, blobs[:1], "subject"))
	put := putOf(r, blobs, "many")
	put.Parsed.Subject = &oci.Descriptor{MediaType: oci.MediaTypeImageManifest, Digest: subject.Manifest.Digest}
	suspect := func(is int) {
		err := s.write(context.Background(), func(tx *tx) error {
			_, err := tx.exec(`UPDATE blobs SET suspect = ?1`, is)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	seen := func() (int, int, int) {
		var manifests, referrers, events int
		_, err := s.find(t.Context(), `SELECT (SELECT count(*) FROM manifests WHERE digest = ?1), (SELECT count(*) FROM manifests WHERE subject = ?2),
			(SELECT count(*) FROM events WHERE op = ?3)`, []any{put.Manifest.Digest.Bytes(), subject.Manifest.Digest.Bytes(), put.By.Op[:]}, &manifests, &referrers, &events)
		if err != nil {
			t.Fatal(err)
		}
		return manifests, referrers, events
	}
	ctx, leave := context.WithCancel(t.Context())
	begun := 0
	afterStep = func() {
		begun, _, _ = seen()
		leave()
		suspect(1)
	}
	if err := s.PutManifest(ctx, put); !fault.Is(err, fault.ManifestBlobUnknown) || begun != 1 {
		t.Errorf("blobs that went after the put began (%d): %v", begun, err)
	}
	if manifests, referrers, events := seen(); manifests+referrers+events != 0 {
		t.Errorf("of a refused put there are %d manifests, %d referrers, %d events", manifests, referrers, events)
	}
	suspect(0)
	if found := findings(t, s); len(found) > 0 {
		t.Error(found)
	}

	ctx, leave = context.WithCancel(t.Context())
	put.By.Op = uuid.New()
	afterStep = leave
	if err := s.PutManifest(ctx, put); err != nil {
		t.Errorf("the client left after the put began: %v", err)
	}
	if manifests, referrers, events := seen(); manifests != 1 || referrers != 1 || events != 1 {
		t.Errorf("of the put there are %d manifests, %d referrers, %d events", manifests, referrers, events)
	}
	if _, err := s.FindManifest(t.Context(), r, oci.Reference{Tag: "many"}); err != nil {
		t.Error(err)
	}
	if found := findings(t, s); len(found) > 0 {
		t.Error(found)
	}
}
