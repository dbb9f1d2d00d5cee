package ocihttp

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// maxRanges is how many ranges a response may have. Each costs a request to the
// store.
const maxRanges = 16

// CleanRange rewrites a Range header to canonical byte ranges, which net/http and
// stores read alike. It removes a malformed header, an unknown unit, more than
// maxRanges, and overlapping ranges: they get the whole content (RFC 9110, section
// 14.2). Well-formed ranges beyond any content stay, and get 416.
func CleanRange(h http.Header) {
	values := h["Range"]
	if len(values) == 0 {
		return
	}
	if clean, ok := cleanRange(values[0]); ok && len(values) == 1 {
		values[0] = clean
	} else {
		delete(h, "Range")
	}
}

// span is one range: the bytes from first to last, or, where suffix is set, the
// last ones, as many as last says.
type span struct {
	first, last int64
	suffix      bool
}

// toTheEnd is the last byte of an open range.
const toTheEnd = math.MaxInt64

func (s span) String() string {
	switch {
	case s.suffix && s.last == 0: // no byte: never satisfiable
		return strconv.FormatInt(math.MaxInt64, 10) + "-"
	case s.suffix:
		return "-" + strconv.FormatInt(s.last, 10)
	case s.last == toTheEnd:
		return strconv.FormatInt(s.first, 10) + "-"
	default:
		return strconv.FormatInt(s.first, 10) + "-" + strconv.FormatInt(s.last, 10)
	}
}

// overlaps is false if that depends on the content's length; then net/http sends at
// most the whole content.
func (s span) overlaps(other span) bool {
	if s.suffix || other.suffix {
		return s.suffix && other.suffix
	}
	return s.first <= other.last && other.first <= s.last
}

func cleanRange(header string) (string, bool) {
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return "", false
	}
	var spans []span
	for text := range strings.SplitSeq(set, ",") {
		text = strings.Trim(text, " \t")
		if text == "" {
			continue // a list may have empty elements
		}
		s, ok := parseSpan(text)
		if !ok || len(spans) == maxRanges {
			return "", false
		}
		for _, other := range spans {
			if s.overlaps(other) {
				return "", false
			}
		}
		spans = append(spans, s)
	}
	words := make([]string, len(spans))
	for i, s := range spans {
		words[i] = s.String()
	}
	return "bytes=" + strings.Join(words, ","), len(spans) > 0
}

func parseSpan(text string) (span, bool) {
	first, last, ok := strings.Cut(text, "-")
	if !ok || first == "" && last == "" {
		return span{}, false
	}
	s := span{suffix: first == "", last: toTheEnd}
	for _, number := range []struct {
		text string
		to   *int64
	}{{first, &s.first}, {last, &s.last}} {
		if number.text == "" {
			continue
		}
		if strings.Trim(number.text, "0123456789") != "" {
			return span{}, false
		}
		// Out of range it is math.MaxInt64, which no content reaches.
		*number.to, _ = strconv.ParseInt(number.text, 10, 64)
	}
	return s, s.suffix || s.first <= s.last
}

// ParseContentRange parses the Content-Range of an upload's chunk, which the spec
// writes as "<start>-<end>", both inclusive ("Pushing a blob in chunks"). The form
// of RFC 9110, "bytes <start>-<end>/<size or *>", is also accepted; the size is
// ignored. The chunk has end-start+1 bytes, which never overflows. Errors are
// fault.BlobUploadInvalid, kind Invalid. The caller checks whether the start is
// right.
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

// ParsePartRange parses the Content-Range of a 206 response (RFC 9110, section 14.4):
// the first and the last byte of the part, and the size of the whole, -1 for "*". It
// returns false for any other text, as of a range that was not satisfiable.
func ParsePartRange(s string) (int64, int64, int64, bool) {
	unit, rest, _ := strings.Cut(s, " ")
	span, total, ok := strings.Cut(rest, "/")
	first, last, dash := strings.Cut(span, "-")
	start, okStart := parseOffset(first)
	end, okEnd := parseOffset(last)
	size, okSize := int64(-1), total == "*"
	if !okSize {
		size, okSize = parseOffset(total)
	}
	ok = ok && dash && okStart && okEnd && okSize && strings.EqualFold(unit, "bytes")
	if !ok || end < start || size >= 0 && size <= end {
		return 0, 0, 0, false
	}
	return start, end, size, true
}

// FormatUploadRange is the Range header of an upload session that has offset bytes.
// The spec has no form for "none": both an empty session and one with a single byte
// have "0-0".
func FormatUploadRange(offset int64) string {
	return "0-" + strconv.FormatInt(max(offset-1, 0), 10)
}

// parseOffset accepts only digits, below math.MaxInt64, so that a length computed
// from it fits.
func parseOffset(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == math.MaxInt64 {
		return 0, false
	}
	return int64(n), true
}
