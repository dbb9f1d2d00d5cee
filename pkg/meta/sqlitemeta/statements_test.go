package sqlitemeta

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// statements finds every SQL statement of the package, by name: the constants
// whose text begins like one and that are no part of another.
func statements(t *testing.T) map[string]string {
	t.Helper()
	begins := regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s`)
	packages, err := parser.ParseDir(token.NewFileSet(), ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0)
	if err != nil {
		t.Fatal(err)
	}
	texts, parts := map[string]ast.Expr{}, map[string]bool{}
	for _, file := range packages["sqlitemeta"].Files {
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

func TestStatementsPrepare(t *testing.T) {
	s := open(t, Options{})
	for name, query := range statements(t) {
		st, err := s.reader.db.PrepareContext(t.Context(), query)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := st.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wholeTables are the statements that read whole tables on purpose: fsck and
// the weekly sweep.
func wholeTables(name string) bool {
	return strings.HasPrefix(name, "check") && name != "checkBlob" || strings.HasPrefix(name, "unmarked")
}

// plan is EXPLAIN QUERY PLAN, a line for each step.
func plan(t *testing.T, s *Store, query string) []string {
	t.Helper()
	var steps []string
	err := s.write(t.Context(), func(tx *tx) error {
		args := make([]any, strings.Count(query, "?")+strings.Count(query, "$"))
		for i := range args {
			args[i] = 1
		}
		return tx.list("EXPLAIN QUERY PLAN "+query, args, func(scan scan) error {
			var id, parent, unused int
			var detail string
			err := scan(&id, &parent, &unused, &detail)
			steps = append(steps, detail)
			return err
		})
	})
	if err != nil {
		t.Errorf("EXPLAIN %s: %v", query, err)
	}
	return steps
}

// TestStatementsUseIndexes holds the cost of every statement to what it
// returns: none but those of fsck and the sweep scans a table that grows, and
// no list sorts.
func TestStatementsUseIndexes(t *testing.T) {
	s := open(t, Options{})
	bounded := regexp.MustCompile(`^SCAN (j VIRTUAL TABLE|[a-z_]+ USING (COVERING )?INDEX [a-z_]+_deleting|signing_keys|CONSTANT ROW|\(subquery)`)
	for name, query := range statements(t) {
		if wholeTables(name) {
			continue
		}
		for _, step := range plan(t, s, query) {
			sorts := strings.Contains(step, "TEMP B-TREE") && name != "findSlug" // the few tenants that had one slug
			if strings.HasPrefix(step, "SCAN") && !bounded.MatchString(step) || sorts {
				t.Errorf("%s: %s", name, step)
			}
		}
	}
}

// TestForeignKeysUseIndexes holds deletes of parents to an index on the
// children, which SQLite looks up by the columns of the key.
func TestForeignKeysUseIndexes(t *testing.T) {
	s := open(t, Options{})
	type key struct {
		child   string
		columns []string
	}
	keys := map[string]*key{}
	err := s.list(t.Context(), `SELECT t.name, f.id, f."from" FROM pragma_table_list t JOIN pragma_foreign_key_list(t.name) f
		WHERE t.schema = 'main' ORDER BY t.name, f.id, f.seq`, nil, func(scan scan) error {
		var child, id, column string
		err := scan(&child, &id, &column)
		if keys[child+id] == nil {
			keys[child+id] = &key{child: child}
		}
		keys[child+id].columns = append(keys[child+id].columns, column)
		return err
	})
	if err != nil || len(keys) < 10 {
		t.Fatalf("%d foreign keys, %v", len(keys), err)
	}
	for _, k := range keys {
		where := strings.Join(k.columns, " = ? AND ") + " = ?"
		steps := plan(t, s, "SELECT 1 FROM "+k.child+" WHERE "+where)
		last := k.columns[len(k.columns)-1]
		if !slices.ContainsFunc(steps, func(step string) bool {
			return strings.HasPrefix(step, "SEARCH") && (strings.Contains(step, last+"=?") || strings.Contains(step, "PRIMARY KEY (rowid=?)"))
		}) {
			t.Errorf("%s (%s): %v", k.child, strings.Join(k.columns, ", "), steps)
		}
	}
}
