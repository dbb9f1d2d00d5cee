package fsblob

import (
	"path"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
)

// Whatever lies in the directory, a path is an object's in one spelling only,
// and is then one that List walks to.
func FuzzKeyOf(f *testing.F) {
	k := blob.Key{Tenant: 42, Incarnation: uuid.MustParse("01890000-0000-7000-8000-0000000000ab")}
	for _, seed := range []string{
		pathOf(k), strings.ToUpper(pathOf(k)), "o/42/ab", "o/042/ab/01890000-0000-7000-8000-0000000000ab",
		"o/42/ab/{01890000-0000-7000-8000-0000000000ab}", "o/42/ab/urn:uuid:01890000-0000-7000-8000-0000000000ab",
		"o/-1/ab/01890000-0000-7000-8000-0000000000ab", "o/99999999999999999999/ab/x", "../o/42/ab/x", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p string) {
		k, ok := keyOf(p)
		if !ok {
			return
		}
		if pathOf(k) != p {
			t.Errorf("%q is the path of %v, whose path is %q", p, k, pathOf(k))
		}
		for dir := shardOf(k); dir != "."; dir = path.Dir(dir) {
			if !ours.MatchString(dir) {
				t.Errorf("List would not walk into %q", dir)
			}
		}
	})
}

// Keys of one moment, as version 7 makes them, spread over the shards.
func TestShardsFillEvenly(t *testing.T) {
	seen := make(map[string]int)
	for range 5000 {
		id, err := uuid.NewV7()
		if err != nil {
			t.Fatal(err)
		}
		seen[shardOf(blob.Key{Tenant: 1, Incarnation: id})]++
	}
	if len(seen) < 250 {
		t.Errorf("5000 objects lie in %d shards", len(seen))
	}
}
