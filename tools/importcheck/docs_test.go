package importcheck

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// named finds what a document names of the repository: paths in code marks,
// and the targets of links within it.
var named = regexp.MustCompile("`((?:api|deployments|migrations|pkg|services|tools)/[^` ]*)`|\\]\\(([^):]+)\\)")

// documents are the guides, by path from the root.
func documents(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		paths, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, paths...)
	}
	if len(found) < 10 {
		t.Fatalf("only %v found", found)
	}
	return found
}

// TestP42_DocumentsNameWhatExists keeps the guides true when files move. A link is
// read from where its document lies, a path in code marks from the root.
func TestP42_DocumentsNameWhatExists(t *testing.T) {
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			path := filepath.Join("../..", filepath.FromSlash(m[1]))
			if m[2] != "" {
				target, _, _ := strings.Cut(m[2], "#")
				path = filepath.Join(filepath.Dir(doc), filepath.FromSlash(target))
			}
			matches, err := filepath.Glob(path)
			if err != nil || len(matches) == 0 {
				t.Errorf("%s names %s, which is not there (%v)", doc, m[1]+m[2], err)
			}
		}
	}
}

// shellBlock is a block of commands with the line before it.
var shellBlock = regexp.MustCompile("(?m)^(.*)\n```sh$")

// mark says which step of the end-to-end tests runs a block, or why none does.
var mark = regexp.MustCompile(`^<!-- (?:e2e: ([a-z0-9-]+)|not run: .+) -->$`)

// TestP42_DocumentsAreRun is the promise that each command in the guides works: a
// script in tools runs it as it stands, or the guide says why not.
func TestP42_DocumentsAreRun(t *testing.T) {
	scripts, err := filepath.Glob("../e2e*")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var words []string
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" \n;'\"", r) })...)
	}
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
			m := mark.FindStringSubmatch(block[1])
			switch {
			case m == nil:
				t.Errorf("%s: a block of commands is not marked; the line before it is %q", doc, block[1])
			case m[1] != "" && !slices.Contains(words, m[1]):
				t.Errorf("%s: no script in tools runs the block %s", doc, m[1])
			}
		}
	}
}
