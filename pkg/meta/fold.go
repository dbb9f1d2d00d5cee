package meta

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// FoldName makes names equal that a directory may take for the same: those that differ in case,
// width, accents, spaces, or characters that are not seen.
func FoldName(name string) string {
	folded := norm.NFKD.String(cases.Fold().String(norm.NFKD.String(name)))
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Cc, unicode.Z) {
			return -1
		}
		return r
	}, folded)
}
