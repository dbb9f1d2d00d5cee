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
// constants whose text begins like one and that are no part of another.
func Statements(t *testing.T) map[string]string {
	t.Helper()
	begins := regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s`)
	texts, parts := map[string]ast.Expr{}, map[string]bool{}
	for _, file := range Sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.CONST {
				for _, spec := range decl.Specs {
					for i, value := range spec.(*ast.ValueSpec).Values {
						texts[spec.(*ast.ValueSpec).Names[i].Name] = value
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
	if len(out) < 50 {
		t.Fatalf("only %d statements found", len(out))
	}
	return out
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
	paths, err := filepath.Glob("*.go")
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
