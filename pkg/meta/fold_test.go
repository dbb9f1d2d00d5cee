package meta_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/berth-registry/berth/pkg/meta"
)

func TestV32_NamesThatADirectoryMayTakeForOneAreOne(t *testing.T) {
	for _, same := range [][]string{
		{"max", "MAX", " max", "max ", "m ax", "ma\u00adx", "ｍａｘ", "mäx", "ma\u0308x", "\x00max", "ma\u200bx"},
		{"straße", "STRASSE"},
		{"max.muster", "Max.Muster"},
	} {
		for _, name := range same {
			if got := meta.FoldName(name); got != meta.FoldName(same[0]) {
				t.Errorf("%q is %q", name, got)
			}
		}
	}
	if meta.FoldName("max.muster") == meta.FoldName("max-muster") || meta.FoldName("max") != "max" {
		t.Error("names are one that no directory takes for the same")
	}
	for _, name := range []string{"", "\xff\xfe", "ma\xffx", strings.Repeat("\ufdfa", 85), strings.Repeat("é", 300), "\x00"} {
		if got := meta.FoldName(name); len(got) > 256 || !utf8.ValidString(got) || strings.ContainsRune(got, 0) {
			t.Errorf("%q is %q", name, got)
		}
	}
}
