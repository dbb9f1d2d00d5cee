package ocihttp

import (
	"math"
	"net/http"
	"strconv"
	"strings"
)

// maxRanges is how many ranges of one content are answered. Each costs a request
// to the store.
const maxRanges = 16

// CleanRange leaves in a Range header only what net/http and stores read alike:
// ranges of bytes, in the form in which everybody writes them. What cannot be
// understood, a unit that is not known, more than maxRanges, and ranges that
// overlap ask for the whole (RFC 9110, section 14.2). Ranges that are well formed
// stay where no content is so long: the answer to them is 416.
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

// toTheEnd is the last byte of a range that has none.
const toTheEnd = math.MaxInt64

func (s span) String() string {
	switch {
	case s.suffix && s.last == 0: // no byte: that can be satisfied nowhere
		return strconv.FormatInt(math.MaxInt64, 10) + "-"
	case s.suffix:
		return "-" + strconv.FormatInt(s.last, 10)
	case s.last == toTheEnd:
		return strconv.FormatInt(s.first, 10) + "-"
	default:
		return strconv.FormatInt(s.first, 10) + "-" + strconv.FormatInt(s.last, 10)
	}
}

// overlaps is false where that depends on the content's length; then net/http
// sends no more than the whole.
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
		// Out of range it is the largest number there is, as no content is so long.
		*number.to, _ = strconv.ParseInt(number.text, 10, 64)
	}
	return s, s.suffix || s.first <= s.last
}
