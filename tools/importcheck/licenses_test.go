package importcheck

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/licensecheck"
)

// allowed are the licenses that a dependency may have: those that let a binary
// of Berth be given to anyone. MPL-2.0 asks for the source of its own files
// alone, where they were changed.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// ofTests are modules that only tests are built from, and their licenses, which are not of the
// list.
var ofTests = map[string]string{
	"github.com/muhlemmer/gu": "Unlicense", // of the issuer of tests, github.com/zitadel/oidc
}

// licenseFile is the file of a module's own license. Files such as LICENSE-LOGO and
// LICENSE-3RD-PARTY.md speak of parts of it.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying)(\.md|\.txt)?$`)

// sure is the part of a file in percent that must be a known license text. The
// rest are names, years and introductions.
const sure = 80

// TestF9_LicensesAreAllowed reads the license of each module that Berth, its tests and
// tools are built from.
func TestF9_LicensesAreAllowed(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-test", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}", "work")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Fields(string(out))
	if len(modules) < 50 {
		t.Fatalf("only %v found", modules)
	}
	dirs := map[string]string{}
	for pair := range slices.Chunk(modules, 2) {
		dirs[pair[0]] = pair[1]
	}
	for module := range ofTests {
		if inBinary(t, module) {
			t.Errorf("%s is no longer a module of tests alone", module)
		}
	}
	for module, dir := range dirs {
		if ids := licenses(t, dir); len(ids) == 0 {
			t.Errorf("%s has no license file that is known", module)
		} else if i := slices.IndexFunc(ids, func(id string) bool { return !slices.Contains(allowed, id) && id != ofTests[module] }); i >= 0 {
			t.Errorf("%s has the license %s; allowed are %v", module, ids[i], allowed)
		}
	}
}

// inBinary reports whether the berth command is built from the module.
func inBinary(t *testing.T, module string) bool {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./services/berth")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(strings.Fields(string(out)), module)
}

// licenses are the SPDX identifiers of the licenses that
// the files in dir contain.
func licenses(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range entries {
		if !licenseFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found := licensecheck.Scan(text)
		if found.Percent < sure {
			return []string{"in " + e.Name() + ", which is not known"}
		}
		for _, match := range found.Match {
			ids = append(ids, match.ID)
		}
	}
	return ids
}
