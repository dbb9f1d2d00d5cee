package fetch

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// TestT21_WithoutAFile: a blob that is passed through is continued within the same bounds.
func TestT21_WithoutAFile(t *testing.T) {
	content := ocitest.Noise(1<<20, 21)
	for name, c := range map[string]struct {
		each   int
		ranges bool
		asked  int
		whole  bool
	}{
		"64 KiB at a time":                      {64 << 10, true, 16, true},
		"1 byte at a time":                      {1, true, mostTries, false},
		"nothing":                               {0, true, 1, false},
		"half, always from the start":           {512 << 10, false, 5, false},
		"all of it in the end, without a range": {1 << 20, false, 1, true},
		"more than half, always from the start": {900 << 10, false, 3, false},
	} {
		faketime.Test(t, func(t *testing.T) {
			asked := 0
			src := func(_ context.Context, from int64) (Part, error) {
				asked++
				if !c.ranges {
					from = 0
				}
				end := min(int(from)+c.each, len(content))
				return Part{Body: io.NopCloser(bytes.NewReader(content[from:end])), From: from, Size: int64(len(content))}, nil
			}
			var got []byte
			d, err := beginDirect(t.Context(), Target{Digest: oci.DigestOf(oci.SHA256, content), Size: -1}, src)
			if err == nil {
				got, err = io.ReadAll(d)
			}
			if c.whole != (err == nil && bytes.Equal(got, content)) || !c.whole && fault.KindOf(err) != fault.BadUpstream || asked != c.asked {
				t.Errorf("%s: %d bytes, asked %d times, %v", name, len(got), asked, err)
			}
		})
	}
}
