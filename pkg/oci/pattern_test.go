package oci_test

import (
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

func TestCheckPattern(t *testing.T) {
	for _, good := range []string{"library/**", "team-*/app", "**", "a", "b/[a-z]?"} {
		if err := oci.CheckPattern(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "[a", "{a,aa}{a,aa}b", `a\b`, strings.Repeat("a", 256)} {
		if err := oci.CheckPattern(bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q is taken: %v", bad, err)
		}
	}
}
