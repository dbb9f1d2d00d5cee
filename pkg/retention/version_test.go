package retention_test

import (
	"testing"

	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
)

func TestW101_ATagHasAClassAndAVariant(t *testing.T) {
	for _, c := range []struct {
		tag     string
		class   tagrule.Class
		variant string
	}{
		{"1.2.3", tagrule.Release, ""},
		{"v1.2.3", tagrule.Release, ""},
		{"1.2.3_build.5", tagrule.Release, ""},
		{"1.2.3-alpine", tagrule.Release, "alpine"},
		{"1.2.3-alpine3.19", tagrule.Release, "alpine3.19"},
		{"1.2.3-slim-bookworm", tagrule.Release, "slim-bookworm"},
		{"1.2.3-debian-12-r5", tagrule.Release, "debian-12-r5"},
		{"1.2.3-windowsservercore-ltsc2022", tagrule.Release, "windowsservercore-ltsc2022"},
		{"1.2.3-amd64", tagrule.Release, "amd64"},
		{"1.2.3-RC1", tagrule.Prerelease, ""},
		{"v1.2.3-rc.1", tagrule.Prerelease, ""},
		{"1.2.3-beta-2", tagrule.Prerelease, ""},
		{"1.2.3-m1", tagrule.Prerelease, ""},
		{"1.2.3-0.3.7", tagrule.Prerelease, ""},
		{"1.2.3-5-gabc1234", tagrule.Prerelease, ""},
		{"1.2.3-RC1-alpine", tagrule.Prerelease, "alpine"},
		{"1.2.3-alpine-RC1", tagrule.Prerelease, "alpine"},
		{"1.2.3-SNAPSHOT", tagrule.Snapshot, ""},
		{"1.2.3-RC1-SNAPSHOT", tagrule.Snapshot, ""},
		{"1.2.3-alpine-SNAPSHOT", tagrule.Snapshot, "alpine"},
		{"main-SNAPSHOT", tagrule.Snapshot, ""},
		{"1.2.3-SNAPSHOT.1", tagrule.Prerelease, ""},
		{"latest", tagrule.Floating, ""},
		{"1", tagrule.Floating, ""},
		{"1.2-alpine", tagrule.Floating, ""},
		{"1.2.3.4", tagrule.Floating, ""},
		{"2024.01.15", tagrule.Floating, ""},
		{"1.2.3-", tagrule.Floating, ""},
		{"99999999999999999999.0.0", tagrule.Floating, ""},
	} {
		if v := retention.ParseVersion(c.tag); v.Class != c.class || v.Variant != c.variant {
			t.Errorf("%s is %s of variant %q, want %s of %q", c.tag, v.Class, v.Variant, c.class, c.variant)
		}
	}
}

// FuzzParseVersion: what a tag rule takes for a release is one here, without a variant,
// and what it takes for a snapshot is one.
func FuzzParseVersion(f *testing.F) {
	for _, tag := range []string{"", "v", "1.2.3", "v1.2.3-RC1_x", "1.2.3-SNAPSHOT", "latest", "1.2.3-alpine3.19-rc01", "1.2.3--", "\xff-SNAPSHOT"} {
		f.Add(tag)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		v := retention.ParseVersion(tag)
		switch tagrule.ClassOf(tag) {
		case tagrule.Release:
			if v.Class != tagrule.Release || v.Variant != "" {
				t.Errorf("%q is %+v", tag, v)
			}
		case tagrule.Snapshot:
			if v.Class != tagrule.Snapshot {
				t.Errorf("%q is %+v", tag, v)
			}
		case tagrule.Prerelease, tagrule.Floating:
		}
	})
}
