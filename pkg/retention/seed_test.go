package retention_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
)

const day = 24 * time.Hour

// seedRule keeps the latest 5 majors, 3 minors of the last major, all patches of the last
// minor, or what was pulled in the last 30 days.
var seedRule = retention.Policy{Rules: []retention.Rule{
	{
		Name: "versions", Action: retention.Keep, Selector: retention.Selector{Classes: []tagrule.Class{tagrule.Release}},
		Conditions: retention.Conditions{Versions: &retention.Window{Majors: 5, Minors: 3, Patches: retention.All}},
	},
	{Name: "pulled", Action: retention.Keep, Conditions: retention.Conditions{PulledWithin: 30 * day}},
	{Name: "rest", Action: retention.Delete, Selector: retention.Selector{Classes: []tagrule.Class{tagrule.Release, tagrule.Prerelease, tagrule.Snapshot}}},
	{Name: "untagged", Action: retention.Delete, Selector: retention.Selector{Untagged: true}, Conditions: retention.Conditions{OlderThan: 7 * day}},
}}

// library is a repository of 500 tags over 9 majors. Each tag has an index of two images.
type library struct {
	retention.Content
}

func (l *library) index(name string) (oci.Digest, []oci.Digest) {
	d := func(what string) oci.Digest { return oci.DigestOf(oci.SHA256, []byte(name+what)) }
	return d(""), []oci.Digest{d(" amd64"), d(" arm64")}
}

func (l *library) add(tags ...string) {
	pushed := now.AddDate(-1, 0, 0)
	for _, tag := range tags {
		index, children := l.index(tag)
		l.Tags = append(l.Tags, retention.Tag{Name: tag, Digest: index})
		l.Manifests = append(l.Manifests, retention.Manifest{Digest: index, PushedAt: pushed, Children: children, Size: 1})
		for _, child := range children {
			l.Manifests = append(l.Manifests, retention.Manifest{Digest: child, PushedAt: pushed, Size: 10})
		}
	}
}

// sign adds cosign's tag of what the tag points to.
func (l *library) sign(tag string) string {
	index, _ := l.index(tag)
	signature := "sha256-" + index.Hex() + ".sig"
	d := oci.DigestOf(oci.SHA256, []byte(signature))
	l.Tags = append(l.Tags, retention.Tag{Name: signature, Digest: d})
	l.Manifests = append(l.Manifests, retention.Manifest{Digest: d, PushedAt: now.AddDate(-1, 0, 0), Size: 100})
	return signature
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

func TestW103_TheSeedsRuleKeepsWhatATableSays(t *testing.T) {
	var l library
	l.add(versions("v%d.%d.%d", 1, 3, 5, 5)...)              // 75: before, the project wrote v
	l.add(versions("%d.%d.%d", 4, 9, 5, 5)...)               // 150
	l.add(versions("%d.%d.%d-alpine", 4, 9, 4, 4)...)        // 96
	l.add(versions("%d.%d.%d-slim-bookworm", 9, 9, 5, 1)...) // 5
	l.add("9.4.4_build1", "9.4.4_build2")
	for rc := 1; rc <= 2; rc++ {
		l.add(versions(fmt.Sprintf("v%%d.%%d.%%d-RC%d", rc), 1, 3, 5, 1)...) // 30
		l.add(versions(fmt.Sprintf("%%d.%%d.%%d-RC%d", rc), 4, 9, 5, 1)...)  // 60
	}
	for rc := 1; rc <= 10; rc++ {
		l.add(fmt.Sprintf("10.0.0-RC%d", rc))
	}
	l.add(versions("%d.%d.%d-SNAPSHOT", 2, 9, 3, 1)...) // 24
	l.add("10.0.0-SNAPSHOT", "main-SNAPSHOT", "9.4.5-alpine-RC1", "9.4.5-alpine-SNAPSHOT")
	l.add("latest", "main", "stable", "edge", "main-branch", "1.2.3.4", "2024.01.15")
	l.add("1", "2", "3", "4", "5", "6", "7", "8", "9", "9.0", "9.1", "9.2", "9.3", "9.4")
	signed := map[string]string{} // signature → tag
	for _, tag := range append(versions("%d.%d.%d", 9, 9, 4, 5), "9.4.4", "9.4.5-alpine-RC1", "4.0.0-alpine") {
		signed[l.sign(tag)] = tag
	}
	if len(l.Tags) != 500 {
		t.Fatalf("the repository has %d tags", len(l.Tags))
	}
	l.manifest(t, "v1.2.3").PulledAt = now.Add(-2 * day)
	l.tag(t, "v3.1.0-RC2").PulledAt = now.Add(-29 * day)
	l.child(t, "10.0.0-RC10").PulledAt = now.Add(-time.Hour)
	l.child(t, "2.0.0-SNAPSHOT").PulledAt = now.Add(-time.Hour)
	l.manifest(t, "9.1.4").PulledAt = now.Add(-30*day - 59*time.Minute)
	l.manifest(t, "9.1.3").PulledAt = now.Add(-30*day - 61*time.Minute)
	l.manifest(t, "10.0.0-SNAPSHOT").PushedAt = now.Add(-day)
	l.manifest(t, "latest").PulledAt = now
	for signature, tag := range signed {
		if tag == "4.0.0-alpine" {
			l.tag(t, signature).PulledAt = now
			for i := range l.Manifests { // a pull counts for the manifest, too
				if l.Manifests[i].Digest == l.tag(t, signature).Digest {
					l.Manifests[i].PulledAt = now
				}
			}
		}
	}

	want := map[string]string{}
	for rule, table := range seedTable {
		for line := range strings.Lines(table) {
			names, _, _ := strings.Cut(strings.TrimSpace(line), "    ")
			for tag := range strings.FieldsSeq(names) {
				want[tag] = rule
			}
		}
	}
	r := seedRule.Evaluate(l.Content, retention.Moment{Now: now, PullsSince: now.AddDate(0, -2, 0), Slack: time.Hour})
	goes := map[string]bool{}
	for i, v := range r.Tags {
		goes[l.Tags[i].Name] = v.Goes
	}
	var bytes int64
	for i, v := range r.Tags {
		tag := l.Tags[i].Name
		rule, stays := want[tag]
		delete(want, tag)
		subject, companion := signed[tag]
		switch {
		case companion:
			if v.Goes != goes[subject] || v.Reason != retention.BySubject {
				t.Errorf("the signature of %s: %+v", subject, v)
			}
			if v.Goes {
				bytes += 100
			}
		case stays && (v.Goes || v.Rule != rule), !stays && (!v.Goes || v.Rule != "rest"):
			t.Errorf("%s: %+v, want it to stay: %t by %q", tag, v, stays, rule)
		case v.Goes:
			bytes += 21
		}
	}
	for tag := range want {
		t.Errorf("%s of the table is no tag", tag)
	}
	if r.Bytes != bytes {
		t.Errorf("%d bytes go, want %d", r.Bytes, bytes)
	}
}

func (l *library) tag(t *testing.T, name string) *retention.Tag {
	t.Helper()
	for i := range l.Tags {
		if l.Tags[i].Name == name {
			return &l.Tags[i]
		}
	}
	t.Fatalf("no tag %s", name)
	return nil
}

func (l *library) manifest(t *testing.T, name string) *retention.Manifest {
	t.Helper()
	d := l.tag(t, name).Digest
	for i := range l.Manifests {
		if l.Manifests[i].Digest == d {
			return &l.Manifests[i]
		}
	}
	t.Fatalf("no manifest of %s", name)
	return nil
}

// child is the second platform of a tag.
func (l *library) child(t *testing.T, name string) *retention.Manifest {
	t.Helper()
	_, children := l.index(name)
	for i := range l.Manifests {
		if l.Manifests[i].Digest == children[1] {
			return &l.Manifests[i]
		}
	}
	t.Fatalf("no platform of %s", name)
	return nil
}
