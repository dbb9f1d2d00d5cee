package importcheck

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const mostNounFiles = 12

var (
	// exampleNoun is what a file says that has a part in the example of ARCHITECTURE.
	exampleNoun = regexp.MustCompile(`(?m)message ServiceAccount |rpc CreateServiceAccount\(|CREATE TABLE accounts\b|^\tAccounts$|\bCreateAccount\(|deleteTenantAccounts\b|pb\.ServiceAccount\b|\bseedAccount\b|"serviceAccount\.create"`)
	nounFile    = regexp.MustCompile("(?m)^  [0-9]+\\. `([^`]+)`")
	generated   = regexp.MustCompile(`\.pb(\.gw)?\.go$`)
)

// TestANounIsFewFiles holds the example of ARCHITECTURE against the code: it lists all
// files by hand that make a service account what it is, except tests and their helpers.
func TestANounIsFewFiles(t *testing.T) {
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range nounFile.FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1])
	}
	if len(listed) == 0 || len(listed) > mostNounFiles {
		t.Errorf("%d files are listed; they are at most %d", len(listed), mostNounFiles)
	}
	for _, file := range listed {
		if text, err := os.ReadFile(filepath.Join("../..", file)); err != nil || !exampleNoun.Match(text) {
			t.Errorf("ARCHITECTURE.md lists %s, which does not name the noun (%v)", file, err)
		}
	}
	for _, dir := range []string{"api", "migrations", "pkg", "services", "tools"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, d fs.DirEntry, err error) error {
			name := filepath.ToSlash(strings.TrimPrefix(path, filepath.FromSlash("../../")))
			if err != nil || d.IsDir() || !byHand(name) {
				return err
			}
			text, err := os.ReadFile(path)
			if err == nil && exampleNoun.Match(text) && !slices.Contains(listed, name) {
				t.Errorf("%s names the noun, and ARCHITECTURE.md does not list it", name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// byHand leaves out what is generated, tests, and their helpers: of those, the noun's
// own file is listed.
func byHand(name string) bool {
	ext := filepath.Ext(name)
	return (ext == ".go" || ext == ".proto" || ext == ".sql") && !generated.MatchString(name) && !strings.HasSuffix(name, "_test.go") &&
		!strings.Contains(name, "/metatest/") && !strings.Contains(name, "/fronttest/")
}
