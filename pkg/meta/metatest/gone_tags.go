package metatest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
)

// testGoneTags deletes manifests with no, some and many tags. Of very many, those that go
// ahead of the manifest have events of their own.
func testGoneTags(t *testing.T, open Open) {
	w := newWorld(t, open)
	r := w.repo("app")
	changes := func(e meta.Event) []meta.Change {
		got, err := meta.DecodeChanges(e.Changes)
		w.must(err)
		return got
	}
	w.pushTagged(r, "other", "a-other", "z")
	for _, n := range []int{0, 1, 3, meta.MaxChanges, meta.MaxChanges + 1, 50} {
		var tags []string
		for i := range n {
			tags = append(tags, fmt.Sprintf("t%03d", i))
		}
		digest := w.pushTagged(r, fmt.Sprint("content ", n), tags...)
		w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: digest, By: cause()}))
		var want []meta.Change
		for _, tag := range tags[:min(n, meta.MaxChanges)] {
			want = append(want, meta.Change{Field: "tag " + tag, Old: digest.String()})
		}
		if n > meta.MaxChanges {
			want[meta.MaxChanges-1] = meta.Change{Field: "tags", Old: "(others)"}
		}
		if e := w.events("", 1)[0]; e.Verb != "manifest.delete" || !slices.Equal(changes(e), want) {
			t.Errorf("%d tags: %s with %v, want %v", n, e.Verb, changes(e), want)
		}
	}
	var tags []string
	for i := range 520 {
		tags = append(tags, fmt.Sprintf("t%03d", i))
	}
	digest := w.pushTagged(r, "many", tags...)
	before := len(w.events("", 1000))
	w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: digest, By: cause()}))
	events := w.events("", 1000)
	events = events[:len(events)-before]
	for i, e := range events {
		if last := i == 0; (e.Verb == "manifest.delete") != last || !last && (e.Verb != "tag.delete" || len(changes(e)) != meta.MaxChanges) {
			t.Errorf("event %d: %s with %d changes", i, e.Verb, len(changes(e)))
		}
	}
	if len(events) < 2 {
		t.Errorf("%d events of 520 tags", len(events))
	}
	if left, err := w.Store.ListTags(t.Context(), r, meta.Page{Size: 10}); err != nil || !slices.Equal(left, []string{"a-other", "z"}) {
		t.Errorf("left are %v, %v", left, err)
	}
}
