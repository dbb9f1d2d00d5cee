package oci_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// The grammars as the spec writes them ("Pulling manifests").
var (
	nameGrammar = regexp.MustCompile(`\A[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\z`)
	tagGrammar  = regexp.MustCompile(`\A[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\z`)
)

var goodNames = []string{
	"a", "0", "app", "library/alpine", "a/b/c/d/e/f/g/h", "a.b", "a_b", "a__b", "a-b", "a--b", "a-----b", "a.b_c__d-e/f",
	"blobs/uploads", "manifests", "tags/list", "proxy/docker.io/library/alpine", strings.Repeat("a", 255),
	strings.Repeat("a/", 127) + "a",
}

// hostileNames belong to row A9.
var hostileNames = []string{
	"", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "...", "A", "aB", "App", "a..b", "a._b", "a_.b", "a___b",
	"a-_b", "a-.b", ".a", "a.", "-a", "a-", "_a", "a_", "_catalog", "a b", "a\tb", "a\nb", "a\x00b", "a%2fb", "a%2Fb", "a%00", "%2e%2e",
	`a\b`, `..\..`, "a:b", "a@b", "a+b", "a~b", "a?b", "a#b", "a*b", "a'b", `a"b`, "a;b", "a=b", "a&b", "a,b", "a<b", "a|b", "a$b", "a`b",
	"é", "ａ", "a\xc0\xafb", "a\xff", "\u202ea", "a/\u2024\u2024/b", strings.Repeat("a", 256), strings.Repeat("a/", 128) + "a", strings.Repeat("-", 1<<16),
}

func TestCheckName(t *testing.T) {
	for _, s := range goodNames {
		if err := oci.CheckName(s); err != nil {
			t.Errorf("CheckName(%q) = %v", s, err)
		}
	}
}

func TestA9_HostileNames(t *testing.T) {
	for _, s := range hostileNames {
		if err := oci.CheckName(s); !fault.Is(err, fault.NameInvalid) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("CheckName(%.80q) = %v; want NAME_INVALID", s, err)
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, s := range append(goodNames, hostileNames...) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := len(s) <= oci.MaxName && nameGrammar.MatchString(s)
		if err := oci.CheckName(s); (err == nil) != want {
			t.Fatalf("CheckName(%q) = %v; the spec's grammar says %t", s, err, want)
		}
	})
}

func ExampleCheckName() {
	fmt.Println(oci.CheckName("library/alpine"))
	fmt.Println(oci.CheckName("Library/../alpine"))
	// Output:
	// <nil>
	// NAME_INVALID: repository name "Library/../alpine" must be lower-case letters and digits, separated by '/', '.', '_', '__' or '-'
}
