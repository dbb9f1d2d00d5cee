package metatest

import (
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// testLineage follows a manifest up through indexes.
func testLineage(open Open) func(*testing.T) {
	return func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("one"))
		index := w.index(image.Manifest)
		top := w.index(index.Manifest)
		other := w.index(image.Manifest, index.Manifest)
		var stored []oci.Digest
		at := map[oci.Digest]int64{}
		for _, m := range []meta.ManifestPut{top, index, image, other} {
			w.fetched(r, m)
			stored = append(stored, m.Manifest.Digest)
			at[m.Manifest.Digest] = w.Now().UnixMicro()
			w.Advance(time.Hour)
		}
		w.fetched(r, top) // again: it was seen before
		for d, want := range map[oci.Digest][]oci.Digest{
			image.Manifest.Digest:  stored,
			index.Manifest.Digest:  {stored[0], stored[1], stored[3]},
			top.Manifest.Digest:    {stored[0]},
			digestOf("never seen"): nil,
		} {
			line, err := w.Store.Lineage(t.Context(), r, d)
			w.must(err)
			var got []oci.Digest
			for _, one := range line {
				got = append(got, one.Digest)
				if one.At.UnixMicro() != at[one.Digest] {
					t.Errorf("%s was stored at %v", one.Digest, one.At)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s has %v, want %v", d, got, want)
			}
		}
		none, err := w.Store.Lineage(t.Context(), meta.Repo{Tenant: r.Tenant, Registry: r.Registry, Name: "none"}, image.Manifest.Digest)
		if err != nil || len(none) != 0 {
			t.Errorf("of another repository: %v, %v", none, err)
		}
	}
}
