package policy

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/bmatcuk/doublestar/v4"
	"github.com/github/go-spdx/v2/spdxexp"

	"github.com/berth-registry/berth/pkg/meta"
)

// Forever is the life of a tag that is never asked for again.
const Forever = time.Duration(math.MaxInt64)

// TagLife is how long the tag is served without a request to the upstream: by the first
// rule for it, else tag_ttl.
func TagLife(s *meta.UpstreamSettings, tag string) time.Duration {
	for _, rule := range s.TagRules {
		if !concerns(rule, tag) {
			continue
		}
		if rule.Immutable {
			return Forever
		}
		return rule.TTL
	}
	return s.TagTTL
}

func concerns(rule meta.UpstreamTagRule, tag string) bool {
	if slices.ContainsFunc(rule.Tags, func(p string) bool { return doublestar.MatchUnvalidated(p, tag) }) {
		return true
	}
	return rule.Versions != "" && inRange(rule.Versions, tag)
}

// inRange reports whether the tag is a whole version, with or without a leading v, that
// the range contains. "1" and "1.27" are not: such tags move with each release.
func inRange(versions, tag string) bool {
	constraint, err := semver.NewConstraint(versions)
	if err != nil {
		return false
	}
	v, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v"))
	return err == nil && constraint.Check(v)
}

// CheckVersions reports whether the text is a range of versions.
func CheckVersions(text string) bool {
	_, err := semver.NewConstraint(text)
	return err == nil
}

// CheckLicense reports whether the text is an SPDX identifier.
func CheckLicense(text string) bool {
	ok, _ := spdxexp.ValidateLicenses([]string{text})
	return ok
}
