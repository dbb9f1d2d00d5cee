package metatest

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
)

// scrubber is a worker of the scrub.
type scrubber struct {
	world
	id uuid.UUID
}

const scrubHold = time.Minute

// claims fails the test unless the worker gets the scrub, or does not.
func (s scrubber) claims(want bool, interval time.Duration) meta.Scrub {
	s.t.Helper()
	at, ok, err := s.Store.ClaimScrub(s.t.Context(), s.id, interval, scrubHold)
	if err != nil || ok != want {
		s.t.Fatalf("claimed: %t, %v; want %t", ok, err, want)
	}
	return at
}

func (s scrubber) advances(want bool, at meta.Scrub, end bool) {
	s.t.Helper()
	ok, err := s.Store.AdvanceScrub(s.t.Context(), s.id, at, scrubHold, end)
	if err != nil || ok != want {
		s.t.Fatalf("advanced: %t, %v; want %t", ok, err, want)
	}
}

func (w world) scrub() meta.Scrub {
	w.t.Helper()
	s, err := w.Store.FindScrub(w.t.Context())
	w.must(err)
	return s
}

func (w world) startScrub(whole bool) {
	w.t.Helper()
	w.must(w.Store.StartScrub(w.t.Context(), cause(), whole))
}

func testScrubs(t *testing.T, open Open) {
	const never = 0
	workers := func(t *testing.T) (scrubber, scrubber) {
		w := newWorld(t, open)
		w.push(w.repo("app"), "12345")
		return scrubber{w, uuid.New()}, scrubber{w, uuid.New()}
	}
	t.Run("W60 one worker at a time walks, and another one continues from its cursor", func(t *testing.T) {
		first, second := workers(t)
		first.claims(false, never)
		if s := first.scrub(); s.State != meta.ScrubIdle || !s.StartedAt.IsZero() {
			t.Errorf("before the first round: %+v", s)
		}
		first.startScrub(false)
		at := first.claims(true, never)
		if at.State != meta.ScrubRunning || at.Total != 5 || at.Cursor != (blob.Key{}) {
			t.Errorf("claimed %+v", at)
		}
		second.claims(false, never)
		at.Cursor, at.Objects, at.Bytes, at.Found, at.Repaired = blob.Key{Tenant: 7, Incarnation: uuid.New()}, 4, 3, 2, 1
		for range 2 {
			first.advances(true, at, false) // repeated: sums are written
		}
		second.advances(false, at, false)
		second.Advance(2 * scrubHold)
		if got := second.claims(true, never); got.ScrubProgress != at.ScrubProgress || got.Round != at.Round {
			t.Errorf("the second continues at %+v, want %+v", got, at)
		}
		first.advances(false, at, true)
		second.advances(true, at, true)
		if s := second.scrub(); s.State != meta.ScrubIdle || s.ScrubProgress != at.ScrubProgress || s.EndedAt.Before(s.StartedAt) {
			t.Errorf("at the end: %+v", s)
		}
		first.claims(false, never)
	})
	t.Run("W61 a stopped round continues when it is started, or begins whole", func(t *testing.T) {
		worker, _ := workers(t)
		worker.startScrub(false)
		at := worker.claims(true, never)
		at.Cursor, at.Objects = blob.Key{Tenant: 7, Incarnation: uuid.New()}, 1
		worker.advances(true, at, false)
		worker.startScrub(false) // it runs
		worker.must(worker.Store.StopScrub(t.Context(), cause()))
		worker.advances(false, at, false)
		worker.Advance(1000 * time.Hour)
		worker.claims(false, time.Hour)
		worker.startScrub(false)
		if got := worker.claims(true, never); got.ScrubProgress != at.ScrubProgress || got.Round != at.Round {
			t.Errorf("continues at %+v, want %+v", got, at)
		}
		worker.startScrub(true)
		worker.advances(false, at, false)
		if got := worker.claims(true, never); got.Objects != 0 || got.Round <= at.Round {
			t.Errorf("the whole round begins at %+v", got)
		}
	})
	t.Run("W62 a round begins an interval after the last one, unless an operator stopped it", func(t *testing.T) {
		worker, _ := workers(t)
		worker.startScrub(false)
		worker.advances(true, worker.claims(true, never), true)
		worker.claims(false, time.Hour)
		worker.Advance(2 * time.Hour)
		worker.claims(false, never)
		worker.advances(true, worker.claims(true, time.Hour), true)
		worker.must(worker.Store.StopScrub(t.Context(), cause()))
		worker.Advance(2 * time.Hour)
		worker.claims(false, time.Hour)
		worker.startScrub(false)
		if got := worker.claims(true, time.Hour); got.Objects != 0 || got.Round != 3 {
			t.Errorf("a round that was stopped before it began: %+v", got)
		}
		verbs := map[string]int{}
		events, err := worker.Store.ListEvents(t.Context(), meta.Deployment, meta.Page{Size: 100})
		worker.must(err)
		for _, e := range events {
			verbs[e.Verb]++
		}
		if verbs[meta.StartedScrub] != 2 || verbs[meta.StoppedScrub] != 1 {
			t.Errorf("events %v", verbs)
		}
	})
}
