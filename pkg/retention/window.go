package retention

import (
	"math"
	"slices"

	"github.com/Masterminds/semver/v3"
)

// numbered is a version, and which of the items has it.
type numbered struct {
	number *semver.Version
	item   int
}

// contained are the items whose versions are in the window, of versions of one line.
func (w Window) contained(versions []numbered) []int {
	slices.SortFunc(versions, func(a, b numbered) int { return b.number.Compare(a.number) })
	majors, minors, patches := bound(w.Majors), bound(w.Minors), bound(w.Patches)
	minorsOf, patchesOf := bound(orOne(w.MinorsOf)), bound(orOne(w.PatchesOf))

	var in []int
	var place position
	var before *semver.Version
	wanted := false
	for _, v := range versions {
		if before == nil || before.Compare(v.number) != 0 {
			place = place.next(before, v.number)
			wanted = place.first(levelMajor) && place.major < majors ||
				place.first(levelMinor) && place.major < minorsOf && place.minor < minors ||
				place.first(levelPatch) && place.major < minorsOf && place.minor < patchesOf && place.patch < patches
			before = v.number
		}
		if wanted { // those that differ only in build metadata are one version
			in = append(in, v.item)
		}
	}
	return in
}

func bound(n int) int {
	if n == All {
		return math.MaxInt
	}
	return n
}

func orOne(n int) int {
	if n == 0 {
		return 1
	}
	return n
}

// position is where a version stands among those of its line, from the highest: in which
// major, in which minor of that, and which patch of that it is.
type position struct {
	major, minor, patch int
	level               level // what it is the first of
}

type level int

const (
	levelMajor level = iota
	levelMinor
	levelPatch
	levelNone // there was a later pre-release of the same patch
)

// first reports whether the version is the highest of its major, minor or patch.
func (p position) first(of level) bool { return p.level <= of }

func (p position) next(before, v *semver.Version) position {
	switch {
	case before == nil:
		return position{}
	case before.Major() != v.Major():
		return position{major: p.major + 1}
	case before.Minor() != v.Minor():
		return position{major: p.major, minor: p.minor + 1, level: levelMinor}
	case before.Patch() != v.Patch():
		return position{major: p.major, minor: p.minor, patch: p.patch + 1, level: levelPatch}
	default:
		p.level = levelNone
		return p
	}
}
