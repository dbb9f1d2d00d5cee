package importcheck

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rowBooks are the documents whose tables have numbered rows.
var rowBooks = []string{"docs/contract.md", "docs/protocol.md"}

var (
	rowLine  = regexp.MustCompile(`^\| ([A-Z]\d+) \|(.*)\|\s*$`)
	rowID    = regexp.MustCompile(`\b[A-NP-W](?:[12]\d{2}|\d{1,2})\b`)
	rowRange = regexp.MustCompile(`\b([A-Z])([12]\d{2}|\d{1,2})(?: to |-|…)[A-Z]([12]\d{2}|\d{1,2})\b`)
	// A test is named after its rows: TestR13_…, "S44 S46 events", "R47_LateWriter".
	testRow    = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)([A-Z](?:[12]\d{2}|\d{1,2}))(?:_|$)`)
	subtestRow = regexp.MustCompile(`^[A-NP-W](?:[12]\d{2}|\d{1,2})(?:(?:[ _]|-|, )(?:[A-NP-W](?:[12]\d{2}|\d{1,2})))*(?:[ _]|$)`)
	// How a row names its proof: tests, a make target, a tool.
	namedTest = regexp.MustCompile(`\b((?:Test|Fuzz)[A-Z]\w*)(…)?`)
	namedTool = regexp.MustCompile("`make ([a-z]+)`|`(tools/[a-z0-9-]+)`")
	// A row that is not proven says so, and why.
	openRow = regexp.MustCompile(`\*\*Open\*\*: \S`)
)

// ruleBook is what the documents promise.
type ruleBook map[string]string // the text of each row, by its number

func readRules(t *testing.T) ruleBook {
	t.Helper()
	rules := ruleBook{}
	for _, book := range rowBooks {
		text, err := os.ReadFile(filepath.Join("../..", book))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			m := rowLine.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil {
				continue
			}
			if _, twice := rules[m[1]]; twice {
				t.Errorf("%s has row %s a second time", book, m[1])
			}
			rules[m[1]] = m[2]
		}
	}
	if len(rules) < 200 {
		t.Fatalf("only %d rows found", len(rules))
	}
	return rules
}

// citations is what Go files say of rows.
type citations struct {
	tests map[string]bool // names of test functions
	proof map[string]bool // rows in names of tests and subtests, and in what tools say they run
	cited map[string]string
}

// cite notes each row that text names, at the place where it does, and returns them with
// those within ranges ("I1 to I9"), which need not all be there.
func (c *citations) cite(text, place string) []string {
	ids := rowID.FindAllString(text, -1)
	for _, m := range rowRange.FindAllStringSubmatch(text, -1) {
		first, _ := strconv.Atoi(m[2])
		last, _ := strconv.Atoi(m[3])
		for i := first; i <= last; i++ {
			ids = append(ids, m[1]+strconv.Itoa(i))
		}
	}
	for _, id := range rowID.FindAllString(text, -1) {
		c.cited[id] = place
	}
	return ids
}

func (c *citations) prove(ids []string) {
	for _, id := range ids {
		c.proof[id] = true
	}
}

func (c *citations) readFile(t *testing.T, path string) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	at := func(pos token.Pos) string {
		p := fset.Position(pos)
		return fmt.Sprintf("%s:%d", strings.TrimPrefix(p.Filename, "../../"), p.Line)
	}
	for _, group := range file.Comments {
		c.cite(group.Text(), at(group.Pos()))
	}
	tool := strings.HasPrefix(path, "../../tools/")
	if tool && file.Doc != nil {
		c.prove(c.cite(file.Doc.Text(), at(file.Pos())))
	}
	if !tool && !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(filepath.Dir(path), "test") {
		return
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			c.tests[n.Name.Name] = true
			if m := testRow.FindStringSubmatch(n.Name.Name); m != nil {
				c.prove(c.cite(m[1], at(n.Pos())))
			}
		case *ast.BasicLit:
			text, _ := strconv.Unquote(n.Value)
			c.prove(c.cite(subtestRow.FindString(text), at(n.Pos())))
		}
		return true
	})
}

func readCitations(t *testing.T) *citations {
	t.Helper()
	c := &citations{tests: map[string]bool{}, proof: map[string]bool{}, cited: map[string]string{}}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".pb.go") {
			c.readFile(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// proven says whether what a row names exists, and reports what does not.
func (c *citations) proven(t *testing.T, id, row string) bool {
	t.Helper()
	found := c.proof[id]
	for _, m := range namedTest.FindAllStringSubmatch(row, -1) {
		if !c.hasTest(m[1], m[2] != "") {
			t.Errorf("row %s names %s, and no test has that name", id, m[0])
		}
		found = true
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range namedTool.FindAllStringSubmatch(row, -1) {
		_, err := os.Stat(filepath.Join("../..", m[2]))
		if m[1] != "" && !strings.Contains(string(makefile), "\n"+m[1]+":") || err != nil {
			t.Errorf("row %s names %s, which is not there", id, m[0])
		}
		found = true
	}
	return found
}

func (c *citations) hasTest(name string, prefix bool) bool {
	if c.tests[name] || !prefix {
		return c.tests[name]
	}
	for test := range c.tests {
		if strings.HasPrefix(test, name) {
			return true
		}
	}
	return false
}

// TestP43_RowsAreThereAndProven keeps the rule books and the code together: a row that a
// comment or the name of a test cites is there, and a row that is there has a
// test that exists, or says that it is open.
func TestP43_RowsAreThereAndProven(t *testing.T) {
	rules, code := readRules(t), readCitations(t)
	for id, place := range code.cited {
		if _, ok := rules[id]; !ok {
			t.Errorf("%s cites %s, which is in none of %v", place, id, rowBooks)
		}
	}
	ids := make([]string, 0, len(rules))
	for id := range rules {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if !code.proven(t, id, rules[id]) && !openRow.MatchString(rules[id]) {
			t.Errorf("no test is named after row %s, and it names none: %s", id, rules[id])
		}
	}
}
