package importcheck

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// named finds what a document names of the repository: paths in code marks,
// and the targets of links within it.
var named = regexp.MustCompile("`((?:api|deployments|migrations|pkg|services|tools)/[^` ]*)`|\\]\\(([^):]+)\\)")

// TestDocumentsNameWhatExists keeps the guides true when files move.
func TestDocumentsNameWhatExists(t *testing.T) {
	for _, doc := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(filepath.Join("../..", doc))
		if err != nil {
			t.Fatal(err)
		}
		found := named.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s names nothing", doc)
		}
		for _, m := range found {
			path := m[1] + m[2]
			matches, err := filepath.Glob(filepath.Join("../..", filepath.FromSlash(path)))
			if err != nil || len(matches) == 0 {
				t.Errorf("%s names %s, which is not there (%v)", doc, path, err)
			}
		}
	}
}
