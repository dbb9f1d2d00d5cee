package retention_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// tagged is a repository of images that each have one tag.
func tagged(tags ...string) retention.Content {
	var c retention.Content
	for _, tag := range tags {
		d := oci.DigestOf(oci.SHA256, []byte(tag))
		c.Tags = append(c.Tags, retention.Tag{Name: tag, Digest: d})
		c.Manifests = append(c.Manifests, retention.Manifest{Digest: d, PushedAt: now.AddDate(0, -6, 0)})
	}
	return c
}

// keeping are the tags that a rule keeps.
func keeping(c retention.Content, r retention.Rule) []string {
	r.Name, r.Action = "keep", retention.Keep
	p := retention.Policy{Rules: []retention.Rule{r, {Name: "rest", Action: retention.Delete}}}
	var kept []string
	for i, v := range p.Evaluate(c, retention.Moment{Now: now}).Tags {
		if !v.Goes {
			kept = append(kept, c.Tags[i].Name)
		}
	}
	return kept
}

func TestW102_AWindowCountsFromTheHighestVersion(t *testing.T) {
	c := tagged("1.0.0", "1.0.1", "1.9.0", "v1.10.0", "1.10.0_build2", "2.0.0", "2.1.0", "2.1.9", "2.1.10", "2.2.0",
		"3.0.0-RC1", "3.0.0-RC2", "3.0.0-RC10", "2.0.0-alpine", "2.0.1-alpine", "latest", "3")
	for _, w := range []struct {
		window retention.Window
		want   []string
	}{
		{retention.Window{Majors: 1}, []string{"2.2.0", "3.0.0-RC10", "2.0.1-alpine"}},
		{retention.Window{Majors: 2}, []string{"v1.10.0", "1.10.0_build2", "2.2.0", "3.0.0-RC10", "2.0.1-alpine"}},
		{retention.Window{Minors: 2}, []string{"2.1.10", "2.2.0", "3.0.0-RC10", "2.0.1-alpine"}},
		{retention.Window{Patches: retention.All}, []string{"2.2.0", "3.0.0-RC10", "2.0.0-alpine", "2.0.1-alpine"}},
		{retention.Window{Patches: 2, PatchesOf: 2}, []string{"2.1.9", "2.1.10", "2.2.0", "3.0.0-RC10", "2.0.0-alpine", "2.0.1-alpine"}},
		{retention.Window{Minors: 1, MinorsOf: retention.All}, []string{"v1.10.0", "1.10.0_build2", "2.2.0", "3.0.0-RC10", "2.0.1-alpine"}},
	} {
		if got := keeping(c, retention.Rule{Conditions: retention.Conditions{Versions: &w.window}}); !slices.Equal(got, w.want) {
			t.Errorf("%+v contains %q, want %q", w.window, got, w.want)
		}
	}
}

// TestW102_AWindowIsWhatItsDefinitionSays compares windows with their definition, word by
// word, for versions that are drawn.
func TestW102_AWindowIsWhatItsDefinitionSays(t *testing.T) {
	dice.Check(t, func(t *dice.T) {
		type version struct{ major, minor, patch int }
		versions := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) version {
			n := rapid.IntRange(0, 4)
			return version{n.Draw(t, "major"), n.Draw(t, "minor"), n.Draw(t, "patch")}
		}), 1, 40, rapid.ID[version]).Draw(t.T, "versions")
		number := rapid.IntRange(retention.All, 5)
		w := retention.Window{
			Majors: number.Draw(t.T, "majors"), Minors: number.Draw(t.T, "minors"), Patches: number.Draw(t.T, "patches"),
			MinorsOf: number.Draw(t.T, "minors of"), PatchesOf: number.Draw(t.T, "patches of"),
		}
		within := func(higher, bound int) bool { return bound == retention.All || higher < bound }
		count := func(of func(version) (int, bool)) int {
			different := map[int]bool{}
			for _, v := range versions {
				if n, yes := of(v); yes {
					different[n] = true
				}
			}
			return len(different)
		}
		var tags, want []string
		for _, v := range versions {
			majors := count(func(o version) (int, bool) { return o.major, o.major > v.major })
			minors := count(func(o version) (int, bool) { return o.minor, o.major == v.major && o.minor > v.minor })
			patches := count(func(o version) (int, bool) {
				return o.patch, o.major == v.major && o.minor == v.minor && o.patch > v.patch
			})
			ofMinors, ofPatches := w.MinorsOf, w.PatchesOf
			if ofMinors == 0 {
				ofMinors = 1
			}
			if ofPatches == 0 {
				ofPatches = 1
			}
			tag := fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch)
			tags = append(tags, tag)
			if minors == 0 && patches == 0 && within(majors, w.Majors) ||
				patches == 0 && within(majors, ofMinors) && within(minors, w.Minors) ||
				within(majors, ofMinors) && within(minors, ofPatches) && within(patches, w.Patches) {
				want = append(want, tag)
			}
		}
		if got := keeping(tagged(tags...), retention.Rule{Conditions: retention.Conditions{Versions: &w}}); !slices.Equal(got, want) {
			t.Errorf("%+v of %q contains %q, want %q", w, tags, got, want)
		}
	})
}
