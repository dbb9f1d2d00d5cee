package metatest

import (
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
)

// testBetween holds a list of names to every part of what it should be, in both
// orders.
func testBetween(t *testing.T, all []string, list func(meta.Between[string]) ([]string, error)) {
	t.Helper()
	ends := append([]string{"", "m", meta.LastName}, all...)
	for _, after := range ends {
		for _, before := range ends {
			for _, size := range []int{0, 2, 100} {
				var want []string
				for _, name := range all {
					if name > after && name < before {
						want = append(want, name)
					}
				}
				b := meta.Between[string]{After: after, Before: before, Size: size}
				for _, b.Descending = range []bool{false, true} {
					if b.Descending {
						slices.Reverse(want)
					}
					if got, err := list(b); err != nil || !slices.Equal(got, want[:min(size, len(want))]) {
						t.Errorf("%+v: %q, %v; want %q", b, got, err, want)
					}
				}
			}
		}
	}
}
