package janitor_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/janitor"
)

// file is the path of the object of a blob.
func (w *world) file(b meta.Blob) string {
	w.t.Helper()
	for _, path := range w.files() {
		if strings.HasSuffix(path, b.Key.Incarnation.String()) {
			return path
		}
	}
	w.t.Fatalf("no file of %s", b.Key)
	return ""
}

// flip changes a byte of the object, and nothing else.
func (w *world) flip(b meta.Blob) {
	w.t.Helper()
	content, err := os.ReadFile(w.file(b))
	w.must(err)
	content[len(content)/2] ^= 1
	w.must(os.Chmod(w.file(b), 0o600))
	w.must(os.WriteFile(w.file(b), content, 0o600))
}

func (w *world) scrubber(edits ...func(*janitor.ScrubConfig)) *janitor.Scrubber {
	c := janitor.ScrubConfig{Meta: w.Meta, Blobs: w.Blobs, Unbound: true}
	for _, edit := range edits {
		edit(&c)
	}
	return janitor.NewScrubber(c)
}

// scrub runs a whole round and returns how it ended.
func (w *world) scrub(s *janitor.Scrubber) meta.Scrub {
	w.t.Helper()
	w.must(w.Meta.StartScrub(w.t.Context(), fronttest.By(), true))
	w.must(s.Step(w.t.Context()))
	now, err := w.Meta.FindScrub(w.t.Context())
	w.must(err)
	if now.State != meta.ScrubIdle {
		w.t.Fatalf("the round has not ended: %+v", now)
	}
	return now
}

func (w *world) told(verb string) []meta.Event {
	w.t.Helper()
	events, err := w.Meta.ListEvents(w.t.Context(), w.repo.Tenant, meta.Page{Size: 1000})
	w.must(err)
	return slices.DeleteFunc(events, func(e meta.Event) bool { return e.Verb != verb })
}

// TestD8_W70_TheScrubFindsEachFlippedByte of 100 objects, names them once, and a push repairs.
func TestD8_W70_TheScrubFindsEachFlippedByte(t *testing.T) {
	w := newWorld(t)
	reg := prometheus.NewRegistry()
	s := w.scrubber(func(c *janitor.ScrubConfig) { c.Metrics = reg })
	var rotten []meta.Blob
	for i := range 110 {
		b := w.push(fmt.Sprintf("layer %d", i))
		if i < 100 {
			rotten = append(rotten, b)
			w.flip(b)
		}
	}
	if got := w.scrub(s); got.Found != 100 || got.Objects != 110 || got.Bytes != got.Total || got.Repaired != 0 {
		t.Errorf("the first round: %+v", got)
	}
	if got := w.scrub(s); got.Found != 100 {
		t.Errorf("the second round: %+v", got)
	}
	told := w.told(meta.BlobRotten)
	if len(told) != 100 || !strings.Contains(told[0].Changes, "registries/main/repositories/app") || told[0].Actor != "janitor" {
		t.Errorf("%d events, such as %+v", len(told), told[0])
	}
	for _, b := range rotten {
		if !slices.ContainsFunc(told, func(e meta.Event) bool { return e.Target == meta.BlobTarget(b.Digest) }) {
			t.Errorf("no event names %s", b.Digest)
		}
	}
	want := "# HELP berth_damaged_blobs Blobs that are lost or rotten and that no push or pull has repaired. Every janitor of a deployment has the same number: take the maximum.\n" +
		"# TYPE berth_damaged_blobs gauge\nberth_damaged_blobs{damage=\"lost\"} 0\nberth_damaged_blobs{damage=\"rotten\"} 100\n"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "berth_damaged_blobs"); err != nil {
		t.Error(err)
	}
	for i := range rotten {
		w.push(fmt.Sprintf("layer %d", i))
	}
	if got := w.scrub(s); got.Found != 0 || got.Objects != 110 {
		t.Errorf("after a push of each: %+v", got)
	}
	if found := w.findings(); len(found) > 0 {
		t.Errorf("findings %v", found)
	}
}

// TestW71_AnObjectThatIsBackIsTrusted: the store was wrong for a while.
func TestW71_AnObjectThatIsBackIsTrusted(t *testing.T) {
	w := newWorld(t)
	lost, noticed := w.push("lost for a while"), w.push("not seen by one read")
	file := w.file(lost)
	w.must(os.Rename(file, file+".away"))
	w.must(w.Meta.MarkSuspect(t.Context(), noticed))
	s := w.scrubber()
	if got := w.scrub(s); got.Found != 1 || len(w.told(meta.BlobLost)) != 1 {
		t.Errorf("%+v, events %+v", got, w.told(meta.BlobLost))
	}
	w.must(s.Recheck(t.Context()))
	if _, err := w.Meta.CheckBlob(t.Context(), w.repo, lost.Digest); !fault.Is(err, fault.BlobUnknown) {
		t.Errorf("a push is told of the lost blob: %v", err)
	}
	if _, err := w.Meta.CheckBlob(t.Context(), w.repo, noticed.Digest); err != nil {
		t.Errorf("what one read did not see: %v", err)
	}
	w.must(os.Rename(file+".away", file))
	w.must(s.Recheck(t.Context()))
	if got, err := w.Meta.CheckBlob(t.Context(), w.repo, lost.Digest); err != nil || got.Key != lost.Key || len(w.told(meta.BlobRecovered)) != 1 {
		t.Errorf("%+v, %v, events %+v", got, err, w.told(meta.BlobRecovered))
	}
	// What a read notices is examined without a round.
	w.flip(noticed)
	w.must(w.Meta.MarkSuspect(t.Context(), noticed))
	w.must(s.Recheck(t.Context()))
	if told := w.told(meta.BlobRotten); len(told) != 1 || told[0].Target != meta.BlobTarget(noticed.Digest) {
		t.Errorf("events %+v", told)
	}
}

// TestW72_WithoutARateOnlySizesAreCompared, but suspects are read.
func TestW72_WithoutARateOnlySizesAreCompared(t *testing.T) {
	w := newWorld(t)
	flipped, short, suspect := w.push("flipped"), w.push("short"), w.push("suspect")
	w.push("sound")
	w.flip(flipped)
	w.flip(suspect)
	w.must(os.Chmod(w.file(short), 0o600))
	w.must(os.Truncate(w.file(short), 2))
	w.must(w.Meta.MarkSuspect(t.Context(), suspect))
	if got := w.scrub(w.scrubber(func(c *janitor.ScrubConfig) { c.Unbound = false })); got.Found != 2 || got.Objects != 4 {
		t.Errorf("%+v", got)
	}
	found, err := w.Meta.FindBlob(t.Context(), w.repo, flipped.Digest)
	if err != nil || found.Suspect {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestW75_AnUpstreamGivesADamagedBlobAgain, where its cache has it.
func TestW75_AnUpstreamGivesADamagedBlobAgain(t *testing.T) {
	w := newWorld(t)
	cached := w.cache("ghcr", "cached", time.Hour, 0)
	b, err := w.Meta.FindBlob(t.Context(), cached, oci.DigestOf(oci.SHA256, []byte("cached")))
	w.must(err)
	w.flip(w.push("hosted"))
	w.flip(b)
	var asked []meta.CachedCopy
	s := w.scrubber(func(c *janitor.ScrubConfig) {
		c.Fetch = func(_ context.Context, from meta.CachedCopy, d oci.Digest, size int64) (io.ReadCloser, error) {
			asked = append(asked, from)
			w.PutBlob(cached, []byte("cached"))
			return io.NopCloser(strings.NewReader("cached")), nil
		}
	})
	if got := w.scrub(s); got.Found != 2 || got.Repaired != 1 {
		t.Errorf("%+v", got)
	}
	if len(asked) != 1 || asked[0].Upstream != "ghcr" || asked[0].Repository != "library/app" {
		t.Errorf("asked %+v", asked)
	}
	if got := w.scrub(s); got.Found != 1 || len(asked) != 1 {
		t.Errorf("the next round: %+v, asked %+v", got, asked)
	}
}
