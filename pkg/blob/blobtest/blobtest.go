// Package blobtest is the conformance suite of blob.Store: what every
// implementation has to do, whatever it stores the bytes in.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// Opener opens an empty store; it closes it with t's end.
type Opener func(t testing.TB) blob.Store

// Scale is how much the suite stores. A store that records progress every so
// many bytes should do so after less than a Unit, so that the suite crosses such
// borders.
type Scale struct {
	Unit  int   // bytes
	Plans int   // of chunks (fault R55), in a short run
	Sizes []int // of their chunks, around the limits of the store
}

// Run runs the suite at the scale of a store that records progress at least
// every megabyte.
func Run(t *testing.T, open Opener) {
	RunAt(t, Scale{Unit: 1 << 20, Plans: 30, Sizes: smallSizes}, open)
}

// RunAt runs the suite at another scale.
func RunAt(t *testing.T, scale Scale, open Opener) {
	for _, c := range []struct {
		name string
		test func(*testing.T, blob.Store)
	}{
		{"Append", scale.testAppend},
		{"AppendResumes", scale.testAppendResumes},
		{"AppendNothing", testAppendNothing},
		{"AppendMissing", testAppendMissing},
		{"R45_SourceFails", scale.testSourceFails},
		{"R45_ContextEnds", testContextEnds},
		{"JournalFails", testJournalFails},
		{"R47_NewerWriterFencesOlder", scale.testFence},
		{"R47_StepsOfAnOlderWriterCount", scale.testFenceAfterSteps},
		{"R47_LateWriterIsFenced", testLateWriter},
		{"R47_LateWriterAfterSeal", testLateWriterAfterSeal},
		{"R47_ManyWriters", testManyWriters},
		{"SealTwice", testSealTwice},
		{"SealCutsWhatDoesNotCount", testSealCuts},
		{"SealEmpty", testSealEmpty},
		{"OpenStaged", scale.testOpenStaged},
		{"OpenSeeks", testOpenSeeks},
		{"Missing", testMissing},
		{"DeleteTwice", testDeleteTwice},
		{"List", testList},
		{"R55_ChunkPlans", scale.testChunkPlans},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func (scale Scale) testAppend(t *testing.T, store blob.Store) {
	want := ocitest.Noise(3*scale.Unit+17, 1)
	s := newSession(t, store)
	s.mustAppend(want)
	s.mustSeal(want)
	for i := 1; i < len(s.steps); i++ {
		if s.steps[i] <= s.steps[i-1] {
			t.Errorf("steps %v do not grow", s.steps)
		}
	}
}

func (scale Scale) testAppendResumes(t *testing.T, store blob.Store) {
	want := ocitest.Noise(scale.Unit, 2)
	s := newSession(t, store)
	for _, cut := range [][2]int{{0, 1}, {1, 1000}, {1000, len(want) * 2 / 3}, {len(want) * 2 / 3, len(want)}} {
		s.mustAppend(want[cut[0]:cut[1]])
	}
	s.mustSeal(want)
}

func testAppendNothing(t *testing.T, store blob.Store) {
	s := newSession(t, store)
	s.mustAppend(nil)
	s.mustAppend([]byte("x"))
	s.mustAppend(nil)
	s.mustSeal([]byte("x"))
}

func testAppendMissing(t *testing.T, store blob.Store) {
	s := newSession(t, store)
	s.mustAppend([]byte("to be lost"))
	if err := store.Delete(t.Context(), s.stage.Key, s.stage.Multipart); err != nil {
		t.Fatal(err)
	}
	if s.stage.Tail.Incarnation != uuid.Nil {
		tail := blob.Key{Tenant: s.stage.Key.Tenant, Incarnation: s.stage.Tail.Incarnation}
		if err := store.Delete(t.Context(), tail, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.append(t.Context(), bytes.NewReader([]byte("more"))); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("append to lost bytes: %v, want ErrMissing", err)
	}
}

func (scale Scale) testSourceFails(t *testing.T, store blob.Store) {
	gone := errors.New("client is gone")
	want := ocitest.Noise(2*scale.Unit, 3)
	s := newSession(t, store)
	for _, n := range []int{0, 1, 300_000, scale.Unit} {
		from := s.offset()
		body := io.MultiReader(bytes.NewReader(want[from:from+int64(n)]), failing{gone})
		if err := s.append(t.Context(), body); err != gone { //nolint:errorlint // it is to be returned as it is
			t.Fatalf("append: %v, want the source's error", err)
		}
		if got := s.offset(); got != from+int64(n) {
			t.Fatalf("offset %d after %d bytes at %d", got, n, from)
		}
	}
	s.mustAppend(want[s.offset():])
	s.mustSeal(want)
}

func testContextEnds(t *testing.T, store blob.Store) {
	cause := errors.New("request is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	s := newSession(t, store)
	err := s.append(ctx, io.MultiReader(bytes.NewReader([]byte("kept")), calling{func() { cancel(cause) }}))
	if !errors.Is(err, cause) {
		t.Errorf("append: %v, want the context's cause", err)
	}
	s.mustSeal([]byte("kept"))
}

func testJournalFails(t *testing.T, store blob.Store) {
	down := errors.New("database is down")
	s := newSession(t, store)
	s.mustAppend([]byte("one"))
	s.fail = down
	if err := s.append(t.Context(), bytes.NewReader([]byte("lost"))); !errors.Is(err, down) {
		t.Errorf("append: %v, want the journal's error", err)
	}
	s.mustAppend([]byte("two"))
	s.mustSeal([]byte("onetwo"))
}

func testSealTwice(t *testing.T, store blob.Store) {
	s := newSession(t, store)
	s.mustAppend([]byte("once"))
	s.mustSeal([]byte("once"))
	s.mustSeal([]byte("once"))
}

func testSealCuts(t *testing.T, store blob.Store) {
	s := newSession(t, store)
	s.mustAppend([]byte("counts"))
	s.fail = errors.New("database is down")
	if err := s.append(t.Context(), bytes.NewReader([]byte(" not"))); err == nil {
		t.Fatal("append succeeded though its step failed")
	}
	s.mustSeal([]byte("counts"))
}

func testSealEmpty(t *testing.T, store blob.Store) {
	s := newSession(t, store)
	s.mustSeal(nil)
	s.mustSeal(nil)
}

// Staged bytes can be read back, and sealed or appended to afterwards.
func (scale Scale) testOpenStaged(t *testing.T, store blob.Store) {
	want := ocitest.Noise(scale.Unit+1, 7)
	for _, n := range []int{0, 1, 300_000, len(want)} {
		s := newSession(t, store)
		s.mustAppend(want[:n/2])
		s.mustAppend(want[n/2 : n])
		if n > 0 {
			s.mustReadBack(want[:n])
			s.mustReadBack(want[:n])
		}
		s.mustSeal(want[:n])
	}
	for _, cut := range []int{1, scale.Unit / 2, scale.Unit} {
		s := newSession(t, store)
		s.mustAppend(want[:cut])
		s.mustReadBack(want[:cut])
		s.mustAppend(want[cut : cut+1])
		s.mustReadBack(want[:cut+1])
		s.mustAppend(want[cut+1:])
		s.mustAppend(want[:scale.Unit])
		s.mustSeal(append(bytes.Clone(want), want[:scale.Unit]...))
	}

	k := blob.Key{Tenant: 1, Incarnation: uuid.New()}
	if _, err := store.OpenStaged(t.Context(), blob.Stage{Key: k, Offset: 3}); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("bytes that are not there: %v, want ErrMissing", err)
	}
}

func testOpenSeeks(t *testing.T, store blob.Store) {
	want := ocitest.Noise(300_000, 4)
	s := newSession(t, store)
	s.mustAppend(want)
	s.mustSeal(want)
	c, err := store.Open(t.Context(), s.stage.Key)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, from := range []int64{299_999, 0, 150_000, 300_000} {
		if at, err := c.Seek(from, io.SeekStart); err != nil || at != from {
			t.Fatalf("seek to %d: %d, %v", from, at, err)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want[from:]) {
			t.Fatalf("content from %d: %d bytes, %v", from, len(got), err)
		}
	}
	if at, err := c.Seek(-10, io.SeekEnd); err != nil || at != 299_990 {
		t.Fatalf("seek from the end: %d, %v", at, err)
	}
}

func testMissing(t *testing.T, store blob.Store) {
	k := blob.Key{Tenant: 1, Incarnation: uuid.New()}
	if _, err := store.Open(t.Context(), k); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("open: %v, want ErrMissing", err)
	}
	if _, err := store.Stat(t.Context(), k); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("stat: %v, want ErrMissing", err)
	}
	if _, err := store.Seal(t.Context(), blob.Stage{Key: k, Offset: 3}); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("seal of bytes that are not there: %v, want ErrMissing", err)
	}
}

func testDeleteTwice(t *testing.T, store blob.Store) {
	s := newSession(t, store)
	s.mustAppend([]byte("gone soon"))
	s.mustSeal([]byte("gone soon"))
	other := newSession(t, store)
	other.mustAppend([]byte("stays"))
	other.mustSeal([]byte("stays"))
	for range 2 {
		if err := store.Delete(t.Context(), s.stage.Key, s.stage.Multipart); err != nil {
			t.Fatalf("delete: %v", err)
		}
		if _, err := store.Stat(t.Context(), s.stage.Key); !errors.Is(err, blob.ErrMissing) {
			t.Fatalf("stat after delete: %v, want ErrMissing", err)
		}
	}
	other.mustHold([]byte("stays"))
}

func testList(t *testing.T, store blob.Store) {
	want := make(map[blob.Key]int64)
	staged := make(map[blob.Key]bool)
	for n := range 20 {
		s := newSession(t, store)
		s.stage.Key.Tenant = int64(1 + n%3)
		p := ocitest.Noise(n*100, uint64(n))
		s.mustAppend(p)
		s.mustSeal(p)
		want[s.stage.Key] = int64(len(p))
		for _, k := range s.intended {
			staged[k] = true
		}
	}
	err := store.List(t.Context(), func(o blob.Stored) error {
		if staged[o.Key] {
			return nil
		}
		if size, ok := want[o.Key]; !ok || size != o.Size || o.Foreign != "" || o.Changed.IsZero() {
			t.Errorf("listed %+v, want size %d", o, size)
		}
		delete(want, o.Key)
		return nil
	})
	if err != nil || len(want) != 0 {
		t.Errorf("list: %v, not listed: %v", err, want)
	}
	enough := errors.New("enough")
	seen := 0
	err = store.List(t.Context(), func(blob.Stored) error { seen++; return enough })
	if !errors.Is(err, enough) || seen != 1 {
		t.Errorf("list continued after an error: %d objects, %v", seen, err)
	}
}

// failing is a reader that only fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// calling calls f and gives nothing, for ever.
type calling struct{ f func() }

func (c calling) Read([]byte) (int, error) { c.f(); return 0, nil }
