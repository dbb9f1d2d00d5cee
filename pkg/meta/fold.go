package meta

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// FoldName makes names equal that a directory may take for the same: those that differ in case,
// width, accents, spaces, or characters that are not seen. The result is valid UTF-8 without control
// characters, and not long.
func FoldName(name string) string {
	folded := norm.NFKD.String(cases.Fold().String(norm.NFKD.String(name)))
	folded = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Cc, unicode.Z) {
			return -1
		}
		return r
	}, folded)
	const longest = 256
	return strings.ToValidUTF8(folded[:min(len(folded), longest)], "")
}
