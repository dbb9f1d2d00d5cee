package oci

import (
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/berth-registry/berth/pkg/fault"
)

// MaxPattern bounds a name pattern, in bytes.
const MaxPattern = 255

// CheckPattern checks a name pattern: a name in which * matches anything in one
// component, ** any number of components, ? a character, [a-z] one of several.
func CheckPattern(text string) error {
	if text == "" || len(text) > MaxPattern || strings.ContainsAny(text, `{}\`) || !doublestar.ValidatePattern(text) {
		return fault.New(fault.Invalid, fault.RequestInvalid, "%q is not a valid name pattern, such as library/** or team-*/app, of at most %d bytes", text, MaxPattern)
	}
	return nil
}

// MatchesAny reports whether one of the patterns matches the name. The patterns passed
// CheckPattern.
func MatchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return doublestar.MatchUnvalidated(p, name) })
}
