package retention

import (
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/berth-registry/berth/pkg/tagrule"
)

// Version is what a tag says as a version.
type Version struct {
	Class   tagrule.Class // without the variant
	Variant string        // alpine of 1.2.3-alpine and of 1.2.3-rc1-alpine; empty: none

	number *semver.Version // nil: the tag is no full version
}

var (
	// Build metadata, which SemVer begins with +, is behind _ in a tag, as Helm writes it.
	fullVersion = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+)(?:-([0-9A-Za-z.-]+))?(?:_([0-9A-Za-z.-]+))?$`)
	// A part of a suffix that says how finished a version is: rc1, RC.2, beta, SNAPSHOT.
	stage = regexp.MustCompile(`^(?:alpha|beta|rc|cr|milestone|pre|preview|prerelease|dev|ea|nightly|canary|next|edge|test|snapshot)[0-9]*$|^[abm][0-9]+$`)
	// Numbers and commits, as git describe appends them.
	count  = regexp.MustCompile(`^[0-9]+$`)
	commit = regexp.MustCompile(`^g?[0-9a-f]{7,40}$`)

	wordThenNumber = regexp.MustCompile(`([a-z])([0-9])`)
	leadingZeros   = regexp.MustCompile(`(^|\.)0+([0-9])`)
)

// ParseVersion reads a tag. Of what is behind the numbers, what says how finished a
// version is makes a pre-release (rc1, beta.2, SNAPSHOT, numbers, commits), and the rest
// is the variant.
func ParseVersion(tag string) Version {
	m := fullVersion.FindStringSubmatch(tag)
	if m == nil {
		return Version{Class: tagrule.ClassOf(tag)}
	}
	number, err := semver.StrictNewVersion(m[1])
	if err != nil {
		return Version{Class: tagrule.ClassOf(tag)}
	}
	pre, variant := splitSuffix(strings.ToLower(m[2]))
	v := Version{Class: tagrule.Release, Variant: variant}
	switch {
	case strings.HasSuffix(pre, "snapshot"):
		v.Class = tagrule.Snapshot
	case pre != "":
		v.Class = tagrule.Prerelease
	}
	v.number = semver.New(number.Major(), number.Minor(), number.Patch(), byNumber(pre), m[3])
	return v
}

// splitSuffix parts what is behind the numbers. A number belongs to what it follows: that
// of beta-2 is of the pre-release, that of debian-12 of the variant.
func splitSuffix(suffix string) (string, string) {
	if suffix == "" {
		return "", ""
	}
	var pre, variant []string
	ofVariant := false
	for part := range strings.SplitSeq(suffix, "-") {
		head, _, _ := strings.Cut(part, ".")
		switch {
		case stage.MatchString(head):
			ofVariant = false
		case count.MatchString(head) || commit.MatchString(head) && strings.ContainsAny(head, "0123456789"):
		default:
			ofVariant = true
		}
		if ofVariant {
			variant = append(variant, part)
		} else {
			pre = append(pre, part)
		}
	}
	return strings.Join(pre, "."), strings.Join(variant, "-")
}

// byNumber writes a pre-release so that RC10 comes after RC2: SemVer compares numbers
// only where they stand alone.
func byNumber(pre string) string {
	return leadingZeros.ReplaceAllString(wordThenNumber.ReplaceAllString(pre, "$1.$2"), "$1$2")
}

// line is what a version is counted among.
type line struct {
	class   tagrule.Class
	variant string
}

func (v Version) line() line { return line{v.Class, v.Variant} }
