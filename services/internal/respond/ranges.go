package respond

import (
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/blob"
)

// firstRange is the first range of a Range header (RFC 9110, section 14.1.2), in
// a blob of that size: what net/http will read first of it. The zero Range for
// a header that names none, whatever is wrong with it: deciding that is left to
// net/http.
func firstRange(header string, size int64) blob.Range {
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok {
		return blob.Range{}
	}
	spec, _, _ = strings.Cut(spec, ",")
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return blob.Range{}
	}
	r := blob.Range{From: parseBound(first), To: size}
	switch end := parseBound(last); {
	case first == "" && end > 0:
		r.From = max(size-end, 0)
	case last != "" && end < r.From, r.From < 0, r.From >= size:
		return blob.Range{}
	case last != "":
		r.To = min(end, size-1) + 1
	}
	if r.From == 0 && r.To == size {
		return blob.Range{}
	}
	return r
}

// lengthOf is how much of a blob of that size its first range has: all of it for a header that
// names none.
func lengthOf(header string, size int64) int64 {
	r := firstRange(header, size)
	if r == (blob.Range{}) {
		return size
	}
	return r.To - r.From
}

// parseBound is -1 for what is not a number.
func parseBound(s string) int64 {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}
