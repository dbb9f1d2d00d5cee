package tagrule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/tagrule"
)

var hex64 = strings.Repeat("0a", 32)

func TestW31_EachTagHasOneClass(t *testing.T) {
	for class, tags := range map[tagrule.Class][]string{
		tagrule.Release:    {"1.2.3", "v1.2.3", "0.0.0", "10.20.30"},
		tagrule.Prerelease: {"1.2.3-RC1", "v1.2.3-rc.1", "1.2.3-alpine", "1.2.3-0.3.7", "1.2.3-SNAPSHOT.1", "1.2.3-a-snapshot1"},
		tagrule.Snapshot:   {"1.2.3-SNAPSHOT", "v1.2.3-SNAPSHOT", "1.2.3-RC1-SNAPSHOT", "1.2-SNAPSHOT", "main-SNAPSHOT", "1.2.3-snapshot"},
		tagrule.Floating:   {"latest", "1", "1.2", "v1", "main", "V1.2.3", "vv1.2.3", "01.2.3", "1.2.3.4", "2024.01.15", "1.2.3-", "1.2.3-01", "99999999999999999999.0.0", "SNAPSHOT"},
	} {
		for _, tag := range tags {
			if got := tagrule.ClassOf(tag); got != class {
				t.Errorf("%s is %s, want %s", tag, got, class)
			}
		}
	}
}

func TestW31_RulesSelectByAllOfTheirLists(t *testing.T) {
	for _, c := range []struct {
		rule    tagrule.Rule
		yes, no []string
	}{
		{tagrule.Rule{}, []string{"latest", "1.2.3", "1.2.3-SNAPSHOT"}, nil},
		{tagrule.Rule{Tags: []string{"v*", "stable"}}, []string{"v1", "v1.2.3-SNAPSHOT", "stable"}, []string{"1.2.3", "unstable"}},
		{tagrule.Rule{Classes: []tagrule.Class{tagrule.Release, tagrule.Prerelease}}, []string{"1.2.3", "v1.2.3-RC1"}, []string{"latest", "v1.2.3-SNAPSHOT"}},
		{tagrule.Rule{Tags: []string{"v*"}, Classes: []tagrule.Class{tagrule.Release}}, []string{"v1.2.3"}, []string{"1.2.3", "v1", "v1.2.3-SNAPSHOT"}},
	} {
		for i, tags := range [][]string{c.no, c.yes} {
			for _, tag := range tags {
				if _, got := (tagrule.Rules{c.rule}).Selecting(tag); got != (i == 1) {
					t.Errorf("%+v selects %s: %t", c.rule, tag, got)
				}
			}
		}
	}
}

func TestW36_NoRuleSelectsCompanions(t *testing.T) {
	all := tagrule.Rules{{Slug: "all", Tags: []string{"*"}, Classes: tagrule.Classes}}
	for _, tag := range []string{"sha256-" + hex64, "sha256-" + hex64 + ".sig", "sha256-" + hex64 + ".att", "sha256-" + hex64 + ".sbom", "sha512-" + hex64 + hex64 + ".sig", "sha512-" + hex64} {
		if r, protected := all.Selecting(tag); protected {
			t.Errorf("%s is selected by %s", tag, r.Slug)
		}
	}
	for _, tag := range []string{"sha256-" + hex64 + ".other", "sha256-0a", "sha256-" + strings.ToUpper(hex64), "x-sha256-" + hex64, "sha256-" + hex64 + ".sig.sig"} {
		if _, protected := all.Selecting(tag); !protected {
			t.Errorf("%s passes as a companion", tag)
		}
	}
}

func TestW31_RulesAreForTheirOperationAndRepositories(t *testing.T) {
	rules := tagrule.Rules{
		{Slug: "delete", NoDelete: true},
		{Slug: "team", NoOverwrite: true, Repositories: []string{"team/**"}},
		{Slug: "both", NoOverwrite: true, NoDelete: true, Repositories: []string{"app"}},
		{Slug: "neither"},
	}
	for _, c := range []struct {
		op         tagrule.Op
		repository string
		want       []string
	}{
		{tagrule.Overwrite, "team/app", []string{"team"}},
		{tagrule.Overwrite, "app", []string{"both"}},
		{tagrule.Overwrite, "other", nil},
		{tagrule.Delete, "app", []string{"delete", "both"}},
		{tagrule.Delete, "other", []string{"delete"}},
	} {
		var got []string
		for _, r := range rules.For(c.op, c.repository) {
			got = append(got, r.Slug)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s of %s: %q, want %q", c.op, c.repository, got, c.want)
		}
	}
}

// FuzzClassOf: whatever the tag, a rule for one class selects it where it has that class,
// and no rule for releases selects a snapshot or a companion.
func FuzzClassOf(f *testing.F) {
	for _, tag := range []string{"", "v", "1.2.3", "v1.2.3-RC1+x", "1.2.3-SNAPSHOT", "latest", "sha256-" + hex64 + ".sig", "\xff-SNAPSHOT", "v1.2.3-ſnapshot"} {
		f.Add(tag)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		class := tagrule.ClassOf(tag)
		if !slices.Contains(tagrule.Classes, class) {
			t.Fatalf("%q is %q", tag, class)
		}
		for _, one := range tagrule.Classes {
			_, selected := tagrule.Rules{{Classes: []tagrule.Class{one}}}.Selecting(tag)
			if selected != (one == class && !tagrule.IsCompanion(tag)) {
				t.Errorf("%q of class %s is selected as %s: %t", tag, class, one, selected)
			}
		}
		if strings.HasSuffix(tag, "-SNAPSHOT") && class != tagrule.Snapshot {
			t.Errorf("%q is %s", tag, class)
		}
	})
}

func ExampleRules_Selecting() {
	rules := tagrule.Rules{{Slug: "releases", Classes: []tagrule.Class{tagrule.Release, tagrule.Prerelease}, NoOverwrite: true}}
	for _, tag := range []string{"v1.2.3", "v1.3.0-SNAPSHOT", "latest"} {
		_, protected := rules.Selecting(tag)
		fmt.Println(tag, protected)
	}
	// Output:
	// v1.2.3 true
	// v1.3.0-SNAPSHOT false
	// latest false
}
