package importcheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// wordExceptions may use a refused word, for a reason.
var wordExceptions = map[string]string{
	"CONTRIBUTING.md": "lists the words",
}

// refusedWords are those that CONTRIBUTING.md lists.
func refusedWords(t *testing.T) *regexp.Regexp {
	t.Helper()
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile("(?s)A test refuses these words: (.*?)\\.\n").FindSubmatch(text)
	if list == nil {
		t.Fatal("CONTRIBUTING.md does not list the refused words")
	}
	var words []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllSubmatch(list[1], -1) {
		words = append(words, strings.ReplaceAll(regexp.QuoteMeta(string(m[1])), " ", `\s+`))
	}
	// A name in quotes, or a part of a host, is not a word of a sentence.
	return regexp.MustCompile(`(?i)(?:^|[\s(])(` + strings.Join(words, "|") + `)(?:[\s,;:)]|\.(?:\s|$)|$)`)
}

// proseOf returns the comments of a Go file, and its strings of several words.
func proseOf(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var prose []string
	for _, group := range file.Comments {
		prose = append(prose, group.Text())
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && strings.Contains(lit.Value, " ") {
			text, _ := strconv.Unquote(lit.Value)
			prose = append(prose, text)
		}
		return true
	})
	return prose
}

// TestWordsAreThoseOfTheField keeps the words that CONTRIBUTING.md refuses out of comments,
// strings and documents. Migrations are left out: they must not change.
func TestWordsAreThoseOfTheField(t *testing.T) {
	refused := refusedWords(t)
	files, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "ls-files",
		"*.go", "*.md", "*.proto", "*.yaml", "*.yml", "*.sh", "*.tpl", "*.txt", "*.conf", "Makefile").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range strings.Fields(string(files)) {
		if wordExceptions[file] != "" || strings.HasSuffix(file, ".pb.go") {
			continue
		}
		path := filepath.Join("../..", file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		prose := []string{string(text)}
		if strings.HasSuffix(file, ".go") {
			prose = proseOf(t, path)
		}
		for _, p := range prose {
			if m := refused.FindStringSubmatch(p); m != nil {
				t.Errorf("%s: %q is refused by CONTRIBUTING.md: %.80q", file, m[1], p)
			}
		}
	}
}
