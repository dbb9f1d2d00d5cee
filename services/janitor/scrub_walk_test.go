package janitor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/janitor"
)

// TestW73_TheScrubKeepsItsRate, in bytes a second.
func TestW73_TheScrubKeepsItsRate(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		s := janitor.NewScrubber(janitor.ScrubConfig{Rate: 1 << 20})
		began := time.Now()
		n, err := s.CopySlowly(t.Context(), io.Discard, bytes.NewReader(make([]byte, 10<<20)))
		if took := time.Since(began); err != nil || n != 10<<20 || took < 9*time.Second || took > 11*time.Second {
			t.Errorf("%d bytes in %s, %v", n, took, err)
		}
	})
}

// outage is a store that gives no object, and says so.
type outage struct{ blob.Opener }

var errOut = fault.Down(errors.New("out"), "the store")

func (outage) Open(context.Context, blob.Key) (blob.Content, error) { return nil, errOut }

func (outage) Stat(context.Context, blob.Key) (int64, error) { return 0, errOut }

// TestW74_AnOutageMarksNothing, and the round continues where it was.
func TestW74_AnOutageMarksNothing(t *testing.T) {
	w := newWorld(t)
	b := w.push("layer")
	w.must(w.Meta.StartScrub(t.Context(), fronttest.By(), false))
	out := w.scrubber(func(c *janitor.ScrubConfig) { c.Blobs = outage{w.Blobs} })
	if err := out.Step(t.Context()); !errors.Is(err, errOut) {
		t.Errorf("an outage: %v", err)
	}
	refused := errors.New("database and store do not belong together")
	guarded := w.scrubber(func(c *janitor.ScrubConfig) {
		c.Guard = func(context.Context) error { return refused }
	})
	w.now = w.now.Add(time.Hour)
	if err := guarded.Step(t.Context()); !errors.Is(err, refused) {
		t.Errorf("another store: %v", err)
	}
	now, err := w.Meta.FindScrub(t.Context())
	if err != nil || now.State != meta.ScrubRunning || now.Objects != 0 {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err := w.Meta.CheckBlob(t.Context(), w.repo, b.Digest); err != nil {
		t.Error(err)
	}
	w.now = w.now.Add(time.Hour)
	w.must(w.scrubber().Step(t.Context()))
	if now, err = w.Meta.FindScrub(t.Context()); err != nil || now.State != meta.ScrubIdle || now.Objects != 1 || now.Found != 0 {
		t.Errorf("%+v, %v", now, err)
	}
}
