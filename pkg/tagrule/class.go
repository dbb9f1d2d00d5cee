package tagrule

import (
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/berth-registry/berth/pkg/oci"
)

// Class is what a tag is as a version. Each tag has one class.
type Class string

// The classes. A leading v is allowed.
const (
	Release    Class = "RELEASE"    // a full version: 1.2.3
	Prerelease Class = "PRERELEASE" // 1.2.3-RC1, and any other pre-release of SemVer
	Snapshot   Class = "SNAPSHOT"   // whatever ends with -SNAPSHOT: it is written again and again
	Floating   Class = "FLOATING"   // no full version: latest, 1, 1.2, main
)

// Classes are all of them.
var Classes = []Class{Release, Prerelease, Snapshot, Floating}

// ClassOf is the class of a tag.
func ClassOf(tag string) Class {
	if strings.HasSuffix(strings.ToUpper(tag), "-SNAPSHOT") {
		return Snapshot
	}
	v, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v"))
	switch {
	case err != nil:
		return Floating
	case v.Prerelease() != "":
		return Prerelease
	default:
		return Release
	}
}

// companion is what cosign names signatures, attestations and SBOMs by, and the tag of
// the referrers tag schema (distribution-spec, "Referrers Tag Schema").
var companion = regexp.MustCompile(`^sha(256|512)-[0-9a-f]{64}([0-9a-f]{64})?(\.(sig|att|sbom))?$`)

// IsCompanion reports whether a tag is named by the digest of what it accompanies, such
// as sha256-….sig. No rule selects it.
func IsCompanion(tag string) bool { return companion.MatchString(tag) }

// Companions are the tags that are named by the digest of a manifest.
func Companions(d oci.Digest) []string {
	base := string(d.Algorithm()) + "-" + d.Hex()
	return []string{base, base + ".att", base + ".sbom", base + ".sig"}
}

// SubjectOf is the digest of what a companion tag is named by; empty for any other tag.
func SubjectOf(tag string) oci.Digest {
	if !IsCompanion(tag) {
		return ""
	}
	base, _, _ := strings.Cut(tag, ".")
	d, err := oci.ParseDigest(strings.Replace(base, "-", ":", 1))
	if err != nil {
		return ""
	}
	return d
}
