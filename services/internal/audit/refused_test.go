package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
)

// picky is a webhook that refuses some bodies with a status; it has the lines of the others.
type picky struct {
	status  int
	refuses func(body []byte) bool
	largest int
	kept    []Record
}

func (p *picky) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if p.largest = max(p.largest, len(body)); err != nil || p.refuses(body) {
		w.WriteHeader(p.status)
		return
	}
	for line := range bytes.Lines(body) {
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		p.kept = append(p.kept, r)
	}
}

func (p *picky) targets() []string {
	var all []string
	for _, r := range p.kept {
		all = append(all, r.Target)
	}
	return all
}

// recordOn writes an event about a target with a change of this many bytes.
func (d delivery) recordOn(t *testing.T, target string, size int) {
	t.Helper()
	cause := meta.Cause{Op: uuid.New(), Actor: "operator", Changes: []meta.Change{{Field: "note", New: strings.Repeat("x", size)}}}
	if err := d.store.RecordEvent(t.Context(), cause, meta.BackupCreated, target); err != nil {
		t.Fatal(err)
	}
}

// drain sends until a call has no more to send.
func (d delivery) drain(t *testing.T) {
	t.Helper()
	for calls := 0; ; calls++ {
		more, err := d.send(t.Context())
		if err != nil || calls > 10*perBatch {
			t.Fatalf("after %d calls: %v", calls, err)
		}
		if !more {
			return
		}
	}
}

// TestU113_BatchesAreBounded: however long the events are, no body of several exceeds the
// bound, and a sink that takes less gets less.
func TestU113_BatchesAreBounded(t *testing.T) {
	hook := &picky{status: http.StatusRequestEntityTooLarge, refuses: func([]byte) bool { return false }}
	d := newDelivery(t, hook, lease.NewMemory())
	var want []string
	for i := range perBatch {
		want = append(want, fmt.Sprintf("backups/%d", i))
		d.recordOn(t, want[i], maxBody/20)
	}
	d.drain(t)
	if !slices.Equal(hook.targets(), want) || hook.largest > maxBody || hook.largest < maxBody/2 {
		t.Errorf("%d of %d events came, in bodies of up to %d bytes", len(hook.kept), len(want), hook.largest)
	}

	const takes = 5000
	hook.kept, want = nil, nil
	hook.refuses = func(body []byte) bool { return len(body) > takes }
	for i, size := range []int{100, 2000, 3000, 100, 2 * takes, 100, 4000, 100, 100} {
		want = append(want, fmt.Sprintf("backups/small-%d", i))
		d.recordOn(t, want[i], size)
	}
	d.drain(t)
	if !slices.Equal(hook.targets(), want) {
		t.Fatalf("%v came", hook.targets())
	}
	for i, r := range hook.kept {
		if long := i == 4; r.ChangesOmitted != long || (len(r.Changes) == 0) != long {
			t.Errorf("%s: %d changes, omitted %t", r.Target, len(r.Changes), r.ChangesOmitted)
		}
	}
	if d.Sent() != int64(perBatch+len(want)) || d.GivenUp() != 0 || len(d.pending(t, 1)) != 0 {
		t.Errorf("%d events sent and %d given up", d.Sent(), d.GivenUp())
	}
}

// TestU113_RefusedEventsKeepNoOtherBack: others are sent before an event that the sink
// refuses, and it is given up after several times, in the log, with a count.
func TestU113_RefusedEventsKeepNoOtherBack(t *testing.T) {
	for _, status := range []int{http.StatusRequestEntityTooLarge, http.StatusBadRequest, http.StatusUnprocessableEntity} {
		hook := &picky{status: status, refuses: func(body []byte) bool { return bytes.Contains(body, []byte("/bad")) }}
		d := newDelivery(t, hook, lease.NewMemory())
		var logged bytes.Buffer
		d.log = slog.New(slog.NewJSONHandler(&logged, nil))
		var want []string
		next := func() {
			want = append(want, fmt.Sprintf("backups/%d", len(want)))
			d.recordOn(t, want[len(want)-1], 10)
			d.drain(t)
		}
		next()
		d.recordOn(t, "backups/bad", 10)
		next()
		for range 3 * refusedOften { // alone it is not given up: the sink may refuse everything
			d.clock.advance(againAfter)
			d.drain(t)
		}
		for range refusedOften - 2 {
			d.clock.advance(againAfter)
			next()
			next()
		}
		if n := len(d.pending(t, 9)); n != 1 || d.GivenUp() != 0 {
			t.Errorf("%d: %d events wait and %d are given up, too early", status, n, d.GivenUp())
		}
		d.clock.advance(againAfter)
		next()
		d.drain(t)
		if !slices.Equal(hook.targets(), want) || d.GivenUp() != 1 || len(d.pending(t, 1)) != 0 || d.Sent() != int64(len(want)) {
			t.Errorf("%d: %v came, %d are given up", status, hook.targets(), d.GivenUp())
		}
		if text := logged.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `"target":"backups/bad"`) || !strings.Contains(text, `"actor":"operator"`) {
			t.Errorf("%d: logged %s", status, text)
		}
	}
}

// TestU113_ASinkThatRefusesEverythingLosesNothing: no event is given up, however often they
// are refused, and the sink is asked ever less.
func TestU113_ASinkThatRefusesEverythingLosesNothing(t *testing.T) {
	const events = 3 * manyRefusals
	refused := true
	hook := &picky{status: http.StatusBadRequest, refuses: func([]byte) bool { return refused }}
	d := newDelivery(t, hook, lease.NewMemory())
	for i := range events {
		d.recordOn(t, fmt.Sprintf("backups/%d", i), 10)
	}
	failures := 0
	for range 50 * events {
		if _, err := d.send(t.Context()); err != nil {
			failures++
			d.clock.advance(againAfter)
		}
	}
	if n := len(d.pending(t, perBatch)); n != events || d.GivenUp() != 0 || failures == 0 {
		t.Errorf("%d of %d events wait, %d are given up after %d failures", n, events, d.GivenUp(), failures)
	}
	refused = false
	d.clock.advance(againAfter)
	d.drain(t)
	if len(hook.kept) != events || len(d.pending(t, 1)) != 0 {
		t.Errorf("%d of %d events came in the end", len(hook.kept), events)
	}
}
