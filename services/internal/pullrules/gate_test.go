package pullrules

import (
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
)

// TestW167_NoNameIsAWayAround: whichever way a client asks for an image of an upstream, a rule
// for its registry and name is for the pull.
func TestW167_NoNameIsAWayAround(t *testing.T) {
	rule := &meta.PullRule{Registry: "dev", Repositories: []string{"library/app"}}
	for _, row := range []struct {
		registry, path, member, at string
		selected                   bool
	}{
		{"dev", "library/app", "", "library/app", true},
		{"dev", "proxy/docker.io/library/app", "", "library/app", true}, // also by the query ns
		{"dev", "app", "", "library/app", true},                         // the upstream has a prefix
		{"dev", "library/app", "", "mirror/library/app", true},
		{"dev", "proxy/hub/library/app", "", "mirror/library/app", true},
		{"group", "library/app", "dev", "library/app", true}, // a member answers
		{"prod", "library/app", "", "library/app", false},
		{"dev", "library/other", "", "library/other", false},
	} {
		p, a := Pull{Registry: row.registry, Repo: meta.Repo{Name: row.path}}, Answer{Registry: row.member, Repo: meta.Repo{Name: row.at}}
		if got := selects(rule, p, a); got != row.selected {
			t.Errorf("%+v: %t", row, got)
		}
	}
}
