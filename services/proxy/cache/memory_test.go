package cache

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// TestE14_AbsencesAreBounded remembers more than there is room for.
func TestE14_AbsencesAreBounded(t *testing.T) {
	now := time.Now()
	a := New(Config{Now: func() time.Time { return now }}).absent
	for i := range knownAbsences + 1000 {
		a.Put(fmt.Sprint(i), struct{}{}, time.Minute)
	}
	if n := a.Len(); n != knownAbsences {
		t.Errorf("%d absences are remembered, want %d", n, knownAbsences)
	}
	last := fmt.Sprint(knownAbsences + 999)
	now = now.Add(time.Minute - 1)
	if _, ok := a.Find(last); !ok {
		t.Error("the last one is not known")
	}
	now = now.Add(1)
	if _, ok := a.Find(last); ok {
		t.Error("one that is over is known")
	}
}

func TestListsAreBounded(t *testing.T) {
	l := newLists()
	tags := slices.Repeat([]string{"a-tag-of-some-length"}, maxTags)
	long := list{tags: knownTags{start: tagRun{tags: tags}}}
	one := long.size()
	for i := range 4 * knownBytes / one {
		l.put(fmt.Sprint(i%100), long)
		l.put("small", list{referrers: []meta.Referrer{{Digest: "sha256:a", Annotations: map[string]string{"k": "v"}}}})
		if l.bytes > knownBytes || l.bytes < 0 {
			t.Fatalf("%d bytes of lists", l.bytes)
		}
	}
	if n := l.known.Len(); n < 3 {
		t.Errorf("%d lists are remembered, want several", n)
	}
	l.drop("small")
	for l.known.Len() > 0 {
		l.known.RemoveOldest()
	}
	if l.bytes != 0 {
		t.Errorf("no lists have %d bytes", l.bytes)
	}
}

func TestPullsAreBounded(t *testing.T) {
	p := newPulls()
	for i := range maxPulls + 10 {
		for range 2 {
			d := oci.Digest(fmt.Sprint(i))
			p.Add(pullKey{digest: d}, meta.CachedPull{Digest: d})
		}
	}
	n := 0
	if _, err := p.Flush(t.Context(), batchSize, func(_ context.Context, batch []meta.CachedPull, _ bool) error {
		n += len(batch)
		return nil
	}); err != nil || n != maxPulls {
		t.Errorf("%d pulls are gathered, want %d (%v)", n, maxPulls, err)
	}
}
