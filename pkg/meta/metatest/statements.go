package metatest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Statements finds every SQL statement of the package under test, by name: the
// constants whose text begins like one and that are not part of another.
func Statements(t *testing.T) map[string]string {
	t.Helper()
	out := statementsOf(t, ".", nil)
	if len(out) < 50 {
		t.Fatalf("only %d statements found", len(out))
	}
	return out
}

// SharedStatements finds the statements of package sqlmeta that run on one
// database: "Postgres", whose statements lock rows, or "SQLite". The names of those
// that only the other one runs end with its name.
func SharedStatements(t *testing.T, database string) map[string]string {
	t.Helper()
	locks := regexp.MustCompile(` FOR (UPDATE|KEY SHARE|NO KEY UPDATE)( OF [gr])?$`)
	out := statementsOf(t, "../sqlmeta", locks)
	for name, text := range out {
		for _, one := range []string{"Postgres", "SQLite"} {
			if one != database && (strings.HasSuffix(name, one) || one == "Postgres" && locks.MatchString(text)) {
				delete(out, name)
			}
		}
	}
	if len(out) < 50 {
		t.Fatalf("only %d statements found", len(out))
	}
	return out
}

// statementsOf finds the statements in a folder. One that is a part of another is
// a statement too where the other one only adds one of locks.
func statementsOf(t *testing.T, folder string, locks *regexp.Regexp) map[string]string {
	t.Helper()
	begins := regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s`)
	texts, parts := map[string]ast.Expr{}, map[string]bool{}
	for _, file := range sourcesIn(t, folder) {
		ast.Inspect(file, func(n ast.Node) bool {
			if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.CONST {
				for _, spec := range decl.Specs {
					for i, value := range spec.(*ast.ValueSpec).Values {
						texts[spec.(*ast.ValueSpec).Names[i].Name] = value
						if addsLock(value, locks) {
							continue
						}
						ast.Inspect(value, func(n ast.Node) bool {
							if id, ok := n.(*ast.Ident); ok {
								parts[id.Name] = true
							}
							return true
						})
					}
				}
			}
			return true
		})
	}
	out := map[string]string{}
	for name, expr := range texts {
		if text, ok := constantText(expr, texts); ok && !parts[name] && begins.MatchString(text) {
			out[name] = text
		}
	}
	return out
}

// addsLock says whether a constant is another one with a lock.
func addsLock(value ast.Expr, locks *regexp.Regexp) bool {
	sum, ok := value.(*ast.BinaryExpr)
	if !ok || locks == nil {
		return false
	}
	lock, ok := constantText(sum.Y, nil)
	return ok && locks.MatchString(lock)
}

// constantText evaluates literals, names of constants, and their sums.
func constantText(expr ast.Expr, texts map[string]ast.Expr) (string, bool) {
	switch e := expr.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		named, ok := texts[e.Name]
		if !ok {
			return "", false
		}
		return constantText(named, texts)
	case *ast.BinaryExpr:
		x, okX := constantText(e.X, texts)
		y, okY := constantText(e.Y, texts)
		return x + y, okX && okY && e.Op == token.ADD
	default:
		return "", false
	}
}

// Sources are the files of the package under test by their names, without its
// tests.
func Sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	return sourcesIn(t, ".")
}

func sourcesIn(t *testing.T, folder string) map[string]*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*ast.File{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		if out[path], err = parser.ParseFile(token.NewFileSet(), path, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
