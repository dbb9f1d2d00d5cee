package metatest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// together runs all of fs at once and waits for them.
func together(fs ...func()) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for _, f := range fs {
		all.Go(func() {
			<-start
			f()
		})
	}
	close(start)
	all.Wait()
}

// times is n functions that know their number.
func times(n int, f func(i int)) []func() {
	fs := make([]func(), n)
	for i := range fs {
		fs[i] = func() { f(i) }
	}
	return fs
}

func testRaces(t *testing.T, open Open) {
	t.Run("R46 64 commits of one digest", func(t *testing.T) {
		w := newWorld(t, open)
		sessions := make([]meta.Upload, 64)
		for i := range sessions {
			u, err := w.Store.SealUpload(t.Context(), w.stage(w.repo("app"), "12345"), digestOf("12345"))
			w.must(err)
			sessions[i] = u
		}
		blobs := make([]meta.Blob, len(sessions))
		together(times(len(sessions), func(i int) {
			var err error
			if blobs[i], err = w.Store.CommitUpload(t.Context(), cause(), sessions[i], false); err != nil {
				t.Error(err)
			}
		})...)
		for _, b := range blobs {
			if b != blobs[0] {
				t.Fatalf("%+v and %+v", b, blobs[0])
			}
		}
		if w.inState('L') != 1 || w.inState('D') != 63 || w.used("acme") != 5 {
			t.Errorf("charged %d, %d live, %d condemned", w.used("acme"), w.inState('L'), w.inState('D'))
		}
		w.consistent()
	})
	t.Run("C14 64 pushes at a quota for 10", func(t *testing.T) {
		w := newWorld(t, open)
		w.tenant, w.registry = w.addTenant("small", room(100, 1, 10))
		var pushed atomic.Int64
		together(times(64, func(i int) {
			_, err := w.tryPush(w.repo("app"), fmt.Sprintf("10 bytes%02d", i))
			switch {
			case err == nil:
				pushed.Add(1)
			case !fault.Is(err, fault.QuotaExceeded):
				t.Error(err)
			}
		})...)
		if pushed.Load() != 10 || w.used("small") != 100 {
			t.Errorf("%d pushes at a limit of 10, charged %d", pushed.Load(), w.used("small"))
		}
		w.consistent()
	})
	t.Run("D7 movers of one tag", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		const movers, moves = 8, 10
		var images [movers][moves]meta.ManifestPut
		for i := range images {
			for j := range images[i] {
				images[i][j] = w.image(nil, w.push(r, fmt.Sprintf("%d/%d", i, j)))
			}
		}
		together(times(movers, func(i int) {
			for _, image := range images[i] {
				if err := w.tryPut(r, image, "latest"); err != nil {
					t.Error(err)
				}
			}
		})...)
		latest, last := w.tagged(r, "latest"), false
		for i := range images {
			last = last || images[i][moves-1].Manifest.Digest == latest
		}
		if !last {
			t.Errorf("latest is %s, which was not put last by anybody", latest)
		}
		w.sameTags(r, "latest")
		w.consistent()
	})
	t.Run("R49 push against delete of one tag", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		for range 20 {
			w.put(r, image, "v1")
			together(
				func() {
					ignore(t, w.tryDelete(r, image.Manifest.Digest), fault.ManifestUnknown)
				},
				func() { ignore(t, w.tryPut(r, image, "v1")) },
				func() { ignore(t, w.Store.DeleteTag(t.Context(), cause(), r, "v1"), fault.ManifestUnknown) },
			)
			w.consistent()
		}
	})
	t.Run("R50 the collector", func(t *testing.T) {
		for _, race := range []struct {
			name string
			// use runs against the collector; what it was told must hold afterwards.
			use func(w world, content string) error
		}{
			{"against manifest PUT", func(w world, content string) error {
				return w.tryPut(w.repo("app"), w.image(nil, meta.Blob{Digest: digestOf(content)}), "v1")
			}},
			{"against commit", func(w world, content string) error {
				b, err := w.tryPush(w.repo("app"), content)
				if err != nil {
					return err
				}
				return sure(w.tryPut(w.repo("app"), w.image(nil, b), "v1"))
			}},
			{"against mount", func(w world, content string) error {
				b, err := w.Store.MountBlob(w.t.Context(), cause(), w.repo("app"), w.repo("target"), digestOf(content))
				if err != nil {
					return err
				}
				return sure(w.tryPut(w.repo("target"), w.image(nil, b), "v1"))
			}},
			{"against HEAD, then manifest PUT", func(w world, content string) error {
				b, err := w.Store.CheckBlob(w.t.Context(), w.repo("app"), digestOf(content))
				if err != nil {
					return err
				}
				return sure(w.tryPut(w.repo("app"), w.image(nil, b), "v1"))
			}},
		} {
			t.Run(race.name, func(t *testing.T) { raceCollector(newWorld(t, open), race.use) })
		}
	})
}

// raceCollector lets use meet the collector at a blob whose time is over.
func raceCollector(w world, use func(w world, content string) error) {
	won := 0
	for i, content := range numbered("blob %d", 25) {
		w.push(w.repo("app"), content)
		w.Advance(meta.DefaultLifetimes.Grace + time.Second)
		var err error
		together(
			func() { err = use(w, content) },
			func() {
				if err := w.tryCollect(); err != nil {
					w.t.Error(err)
				}
			},
		)
		switch {
		case err == nil:
			won++
		case fault.KindOf(err) != fault.NotFound:
			w.t.Error(err)
		}
		if i%5 == 0 {
			w.consistent()
		}
	}
	w.collectAll()
	w.consistent()
	if left := w.inState('L'); left != won {
		w.t.Errorf("%d images were acknowledged, %d blobs are left", won, left)
	}
}

// sure turns a refusal that must not happen into a defect.
func sure(err error) error {
	if err != nil {
		return fault.Wrap(err, fault.Internal, fault.InternalReason, "what was promised does not hold")
	}
	return nil
}

// ignore fails the test for errors of other reasons.
func ignore(t testing.TB, err error, reasons ...fault.Reason) {
	t.Helper()
	for _, r := range reasons {
		if fault.Is(err, r) {
			return
		}
	}
	if err != nil {
		t.Error(err)
	}
}
