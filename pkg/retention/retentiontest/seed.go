// Package retentiontest has the rule that Berth's seed is about, and a repository for it.
package retentiontest

import (
	"fmt"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
)

const day = 24 * time.Hour

// SeedRule keeps the latest 5 majors, 3 minors of the last major, all patches of the last
// minor, or what was pulled in the last 30 days.
var SeedRule = retention.Policy{Rules: []retention.Rule{
	{
		Name: "versions", Action: retention.Keep, Selector: retention.Selector{Classes: []tagrule.Class{tagrule.Release}},
		Conditions: retention.Conditions{Versions: &retention.Window{Majors: 5, Minors: 3, Patches: retention.All}},
	},
	{Name: "pulled", Action: retention.Keep, Conditions: retention.Conditions{PulledWithin: 30 * day}},
	{Name: "rest", Action: retention.Delete, Selector: retention.Selector{Classes: []tagrule.Class{tagrule.Release, tagrule.Prerelease, tagrule.Snapshot}}},
	{Name: "untagged", Action: retention.Delete, Selector: retention.Selector{Untagged: true}, Conditions: retention.Conditions{OlderThan: 7 * day}},
}}

// SeedTags are those of a repository of 9 majors, with pre-releases, variants and
// snapshots; with a signature of each of SeedSigned they are 500.
func SeedTags() []string {
	tags := versions("v%d.%d.%d", 1, 3, 5, 5)                              // 75: before, the project wrote v
	tags = append(tags, versions("%d.%d.%d", 4, 9, 5, 5)...)               // 150
	tags = append(tags, versions("%d.%d.%d-alpine", 4, 9, 4, 4)...)        // 96
	tags = append(tags, versions("%d.%d.%d-slim-bookworm", 9, 9, 5, 1)...) // 5
	tags = append(tags, "9.4.4_build1", "9.4.4_build2")
	for rc := 1; rc <= 2; rc++ {
		tags = append(tags, versions(fmt.Sprintf("v%%d.%%d.%%d-RC%d", rc), 1, 3, 5, 1)...) // 30
		tags = append(tags, versions(fmt.Sprintf("%%d.%%d.%%d-RC%d", rc), 4, 9, 5, 1)...)  // 60
	}
	for rc := 1; rc <= 10; rc++ {
		tags = append(tags, fmt.Sprintf("10.0.0-RC%d", rc))
	}
	tags = append(tags, versions("%d.%d.%d-SNAPSHOT", 2, 9, 3, 1)...) // 24
	tags = append(tags, "10.0.0-SNAPSHOT", "main-SNAPSHOT", "9.4.5-alpine-RC1", "9.4.5-alpine-SNAPSHOT")
	tags = append(tags, "latest", "main", "stable", "edge", "main-branch", "1.2.3.4", "2024.01.15")
	return append(tags, "1", "2", "3", "4", "5", "6", "7", "8", "9", "9.0", "9.1", "9.2", "9.3", "9.4")
}

// SeedSigned are the tags whose image is signed.
func SeedSigned() []string {
	return append(versions("%d.%d.%d", 9, 9, 4, 5), "9.4.4", "9.4.5-alpine-RC1", "4.0.0-alpine")
}

// versions are those of format for all majors, minors and patches between bounds.
func versions(format string, firstMajor, lastMajor, minors, patches int) []string {
	var all []string
	for major := firstMajor; major <= lastMajor; major++ {
		for minor := range minors {
			for patch := range patches {
				all = append(all, fmt.Sprintf(format, major, minor, patch))
			}
		}
	}
	return all
}

// seedTable is what stays of the library, by what. It is written by hand.
var seedTable = map[string]string{
	"versions": `
		9.4.4 8.4.4 7.4.4 6.4.4 5.4.4                                 last of the latest 5 majors
		9.4.4_build1 9.4.4_build2                                     is 9.4.4 as well
		9.3.4 9.2.4                                                   last of 3 minors of the last major
		9.4.0 9.4.1 9.4.2 9.4.3                                       patches of the last minor
		9.3.3-alpine 8.3.3-alpine 7.3.3-alpine 6.3.3-alpine 5.3.3-alpine
		9.2.3-alpine 9.1.3-alpine
		9.3.0-alpine 9.3.1-alpine 9.3.2-alpine
		9.4.0-slim-bookworm 9.3.0-slim-bookworm 9.2.0-slim-bookworm`,
	"pulled": `
		v1.2.3 4.0.0-alpine v3.1.0-RC2 10.0.0-RC10 2.0.0-SNAPSHOT     pulled by tag, digest, platform or signature
		9.1.4                                                         29 days ago, 23 hours and 59 minutes: and the slack of an hour
		10.0.0-SNAPSHOT                                               never pulled, pushed yesterday
		latest`,
	"": `
		main stable edge main-branch 1.2.3.4 2024.01.15
		1 2 3 4 5 6 7 8 9
		9.0 9.1 9.2 9.3 9.4`,
}

// SeedStays are the tags that stay, and by which rule: in a repository in which all was
// pushed long ago, but for 10.0.0-SNAPSHOT, and in which what seedTable says was pulled.
func SeedStays() map[string]string {
	stays := map[string]string{}
	for rule, table := range seedTable {
		for line := range strings.Lines(table) {
			names, _, _ := strings.Cut(strings.TrimSpace(line), "    ")
			for tag := range strings.FieldsSeq(names) {
				stays[tag] = rule
			}
		}
	}
	return stays
}
