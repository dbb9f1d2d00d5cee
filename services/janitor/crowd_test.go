package janitor_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/janitor"
)

// busy is a store in which work comes in faster than a call does it: events that are
// trimmed, and one other kind.
type busy struct {
	calls
	endless                      string
	trims, shrinks, drops, reaps atomic.Int64
}

func (b *busy) work(kind string, calls *atomic.Int64) (int, error) {
	calls.Add(1)
	if kind != b.endless {
		return 0, nil
	}
	<-time.After(230 * time.Millisecond)
	return 1, nil
}

func (b *busy) TrimEvents(context.Context, int) (int, error)   { return b.work("events", &b.trims) }
func (b *busy) ShrinkCached(context.Context, int) (int, error) { return b.work("shrink", &b.shrinks) }
func (b *busy) ReapUploads(context.Context, int) (int, error)  { return b.work("reap", &b.reaps) }
func (b *busy) DropBlobs(context.Context, int) (int, error)    { return b.work("drop", &b.drops) }
func (*busy) PurgeDeleted(context.Context, int) (int, error)   { return 0, nil }
func (*busy) ExpireCached(context.Context, int) (int, error)   { return 0, nil }
func (*busy) UnlinkBlobs(context.Context, int) (int, error)    { return 0, nil }
func (*busy) ClaimCondemned(context.Context, int) ([]meta.Condemned, error) {
	return nil, nil
}

// A tenant that makes work faster than a phase does it keeps the janitor from nothing
// else. What is left is done soon.
func TestS98_EndlessWorkKeepsNoOtherWaiting(t *testing.T) {
	for _, endless := range []string{"", "events", "shrink", "reap", "drop"} {
		t.Run("of "+endless, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				b := &busy{endless: endless}
				ctx, cancel := context.WithTimeout(t.Context(), day)
				defer cancel()
				janitor.New(janitor.Config{Meta: b, Blobs: b, Log: slog.New(slog.DiscardHandler)}).Run(ctx)
				for kind, calls := range map[string]*atomic.Int64{"events": &b.trims, "shrink": &b.shrinks, "reap": &b.reaps, "drop": &b.drops} {
					rounds := int64(day / (30 * time.Second))
					if kind == "events" || kind == "shrink" {
						rounds = int64(day / (5 * time.Minute))
					}
					least, most := rounds*9/10, rounds
					switch {
					case kind != endless:
						most *= 30 // rounds that finish what is left
					case kind == "events":
						most += 2 // once a round: it has gone over all tenants
					default:
						least, most = int64(day/time.Second)*2, int64(day/time.Second)*5
					}
					if n := calls.Load(); n < least || n > most {
						t.Errorf("%d calls for %s, want %d to %d", n, kind, least, most)
					}
				}
				if n := b.lists.Load(); n != 1 {
					t.Errorf("%d reconciliations", n)
				}
			})
		})
	}
}

// One call is enough for a store that is slow, and its pass ends.
func TestS98_ASlowStoreEndsThePass(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		s := &slowStore{}
		began := time.Now()
		if err := janitor.New(janitor.Config{Meta: s, Blobs: s, Log: slog.New(slog.DiscardHandler)}).Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("a pass took %s", took)
		}
	})
}

// slowStore takes half a minute for each deletion, which then fails.
type slowStore struct{ busy }

func (*slowStore) ClaimCondemned(context.Context, int) ([]meta.Condemned, error) {
	return make([]meta.Condemned, 100), nil
}

func (*slowStore) Delete(context.Context, blob.Key, string) error {
	<-time.After(30 * time.Second)
	return errors.New("the store does not answer")
}

// paced is a store in which some blobs are due, of which each takes a millisecond.
type paced struct {
	busy
	due   int
	calls []dropCall
}

type dropCall struct {
	at    time.Time
	limit int
}

func (p *paced) DropBlobs(_ context.Context, limit int) (int, error) {
	p.calls = append(p.calls, dropCall{time.Now(), limit})
	n := min(limit, p.due)
	p.due -= n
	<-time.After(time.Duration(n) * time.Millisecond)
	return n, nil
}

// Pushes keep their latency while blobs are collected: a pass works a tenth of its time. Only
// when it left something, the next one hurries.
func TestS98_CollectionIsGentle(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		p := &paced{due: 3000}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		janitor.New(janitor.Config{Meta: p, Blobs: p, Log: slog.New(slog.DiscardHandler)}).Run(ctx)
		var gentle, full int
		for i, c := range p.calls[:len(p.calls)-1] {
			switch gap := p.calls[i+1].at.Sub(c.at); {
			case c.limit == 100 && full == 0 && gap == time.Second: // 100 ms of work
				gentle++
			case c.limit == 1000 && gap == time.Second: // all work
				full++
			}
		}
		if gentle != 9 || full != 2 || p.due != 0 {
			t.Errorf("%d gentle calls, %d full ones, %d blobs left: %v", gentle, full, p.due, p.calls)
		}
		if last := p.calls[len(p.calls)-1]; last.limit != 100 {
			t.Errorf("the last pass took %d at once", last.limit)
		}
	})
}
