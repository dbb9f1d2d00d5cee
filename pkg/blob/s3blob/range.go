package s3blob

import (
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/blob"
)

// parseContentRange reads "bytes 5-9/20": the range [5, 10) of an object of 20
// bytes. False for anything else, also for a range that is empty or not within
// the object.
func parseContentRange(s string) (blob.Range, int64, bool) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return blob.Range{}, 0, false
	}
	var n [3]int64
	for i, text := range []string{first, last, total} {
		v, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return blob.Range{}, 0, false
		}
		n[i] = int64(v)
	}
	if n[0] > n[1] || n[1] >= n[2] {
		return blob.Range{}, 0, false
	}
	return blob.Range{From: n[0], To: n[1] + 1}, n[2], true
}
