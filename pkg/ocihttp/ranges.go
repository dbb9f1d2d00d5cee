package ocihttp

import (
	"math"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// ParseContentRange parses the Content-Range of an upload's chunk, which the
// spec writes as "<start>-<end>", both inclusive ("Pushing a blob in chunks").
// The form of RFC 9110, "bytes <start>-<end>/<size or *>", is taken too; the
// size is not looked at. The chunk has end-start+1 bytes, which never
// overflows. Errors are fault.BlobUploadInvalid, kind Invalid: whether the
// start is the right one is not decided here.
func ParseContentRange(s string) (int64, int64, error) {
	span := s
	if rest, ok := strings.CutPrefix(s, "bytes "); ok {
		span, _, _ = strings.Cut(rest, "/")
	}
	first, last, ok := strings.Cut(span, "-")
	start, okStart := parseOffset(first)
	end, okEnd := parseOffset(last)
	if !ok || !okStart || !okEnd || end < start {
		return 0, 0, fault.New(fault.Invalid, fault.BlobUploadInvalid,
			"Content-Range must be <start>-<end>, both inclusive").WithField("Content-Range")
	}
	return start, end, nil
}

// FormatUploadRange is the Range header of an upload session that has offset
// bytes. The spec has no way to say "none": an empty session answers "0-0", as
// one with a single byte does.
func FormatUploadRange(offset int64) string {
	return "0-" + strconv.FormatInt(max(offset-1, 0), 10)
}

// parseOffset takes digits only, and less than the largest int64, so that a
// length computed from it fits.
func parseOffset(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == math.MaxInt64 {
		return 0, false
	}
	return int64(n), true
}
