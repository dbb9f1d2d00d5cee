package oci_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

var goodTags = []string{"a", "1", "_", "latest", "v1.2.3", "V1", "a.b-c_d", "1.0.0-rc.1_build", "__", "a..b", "a--", "a.", strings.Repeat("t", 128)}

// hostileTags belong to row A9.
var hostileTags = []string{
	"", ".", "..", "-", ".a", "-a", "a/b", "../a", "a b", "a\x00", "a\n", "a%2e", "%2e%2e", `a\b`, "a@b", "a+b", "a~", "a#", "a?", "a*", "é", "a\xff",
	"ａ", strings.Repeat("t", 129), strings.Repeat("t", 1<<16),
}

func TestParseReference(t *testing.T) {
	for _, s := range goodTags {
		if r, err := oci.ParseReference(s); err != nil || r.Tag != s || r.Digest != "" || r.String() != s {
			t.Errorf("ParseReference(%q) = %+v, %v", s, r, err)
		}
	}
	for _, s := range []string{emptySHA256, emptySHA512} {
		if r, err := oci.ParseReference(s); err != nil || r.Digest.String() != s || r.Tag != "" || r.String() != s {
			t.Errorf("ParseReference(%q) = %+v, %v", s, r, err)
		}
	}
	for _, s := range []string{":", "latest:", "sha256:abc", "localhost:5000", emptySHA256 + "0"} {
		if r, err := oci.ParseReference(s); !fault.Is(err, fault.DigestInvalid) || r != (oci.Reference{}) {
			t.Errorf("ParseReference(%q) = %+v, %v; want DIGEST_INVALID", s, r, err)
		}
	}
}

func TestA9_HostileTags(t *testing.T) {
	for _, s := range hostileTags {
		if err := oci.CheckTag(s); !fault.Is(err, fault.TagInvalid) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("CheckTag(%.80q) = %v; want TAG_INVALID", s, err)
		}
		if r, err := oci.ParseReference(s); !fault.Is(err, fault.TagInvalid) {
			t.Errorf("ParseReference(%.80q) = %+v, %v; want TAG_INVALID", s, r, err)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range append(goodTags, hostileTags...) {
		f.Add(s)
	}
	f.Add(emptySHA256)
	f.Add("sha256:abc")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := oci.ParseReference(s)
		if isTag := tagGrammar.MatchString(s); isTag != (err == nil && r.Tag != "") {
			t.Fatalf("ParseReference(%q) = %+v, %v; the spec's grammar of tags says %t", s, r, err, isTag)
		}
		if err == nil && (r.String() != s || (r.Tag == "") == (r.Digest == "")) {
			t.Fatalf("ParseReference(%q) = %+v", s, r)
		}
	})
}

func ExampleParseReference() {
	byTag, err := oci.ParseReference("v1.2")
	fmt.Printf("%q %q %v\n", byTag.Tag, byTag.Digest, err)
	_, err = oci.ParseReference("-rf")
	fmt.Println(err)
	// Output:
	// "v1.2" "" <nil>
	// TAG_INVALID: tag "-rf" must be letters, digits, '_', '.' and '-', and not begin with '.' or '-'
}
