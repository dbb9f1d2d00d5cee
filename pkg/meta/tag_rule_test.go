package meta_test

import (
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tagrule"
)

func TestW33_ARefusalCountsTags(t *testing.T) {
	rules := tagrule.Rules{
		{Slug: "floating", Tags: []string{"latest"}, NoDelete: true},
		{Slug: "releases", Classes: []tagrule.Class{tagrule.Release}, NoDelete: true},
	}
	for _, c := range []struct {
		tags []string
		want string
	}{
		{[]string{"other"}, ""},
		{[]string{"other", "1.0.0"}, "tag 1.0.0 is protected by tag rule releases (no delete)"},
		{[]string{"1.0.0", "latest"}, "tag 1.0.0 and 1 other are protected by tag rule releases (no delete)"},
		{[]string{"latest", "1.0.0", "1.0.1"}, "tag latest and 2 others are protected by tag rule floating (no delete)"},
	} {
		g := meta.GuardTags(rules, tagrule.Delete, "app")
		for _, tag := range c.tags {
			g.Add(tag)
		}
		err := g.Refusal()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.tags, err, c.want)
		}
	}
}
