package fault

import (
	"strconv"
	"strings"
)

// MaxText is the most bytes of a text from outside in an error, a line of the log, an
// event or a span. What clients and other servers send may be of any length.
const MaxText = 1 << 10

// Clip shortens a text that is longer than MaxText, and says by how much.
func Clip(text string) string { return ClipTo(text, MaxText) }

// ClipTo is Clip for another length.
func ClipTo(text string, most int) string {
	if len(text) <= most {
		return text
	}
	kept := strings.ToValidUTF8(text[:most], "")
	return kept + "… (" + strconv.Itoa(len(text)-len(kept)) + " bytes more)"
}

// clipDetail is Clip for the details that hold texts.
func clipDetail(d any) any {
	switch v := d.(type) {
	case string:
		return Clip(v)
	case map[string]string:
		short := make(map[string]string, len(v))
		for key, text := range v {
			short[key] = Clip(text)
		}
		return short
	}
	return d
}
