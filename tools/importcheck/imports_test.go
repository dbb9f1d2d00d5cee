package importcheck

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const module = "github.com/berth-registry/berth/"

// load reads every package of both modules, tests included, with the types of
// its own code only: what others export comes from the build cache.
func load(t *testing.T) []*packages.Package {
	t.Helper()
	pkgs, err := packages.Load(&packages.Config{
		Dir:   "../..",
		Tests: true,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedForTest |
			packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedModule,
	}, "work")
	if err != nil {
		t.Fatalf("go list work: %v", err)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list work found no package")
	}
	for _, p := range pkgs {
		for _, e := range p.Errors {
			t.Errorf("%s does not build: %v", p.PkgPath, e)
		}
	}
	return pkgs
}

// short is a package's path inside the module; ok is false for a package of
// another module.
func short(path string) (string, bool) {
	path, _ = strings.CutSuffix(path, "_test")
	return strings.CutPrefix(path, module)
}

func TestArchitecture(t *testing.T) {
	pkgs := load(t)

	t.Run("arrows point down", func(t *testing.T) {
		for _, p := range pkgs {
			checkImports(t, p)
		}
	})
	t.Run("every package says what it is", func(t *testing.T) {
		for _, p := range pkgs {
			if p.ForTest == "" && !strings.HasSuffix(p.PkgPath, ".test") {
				checkComment(t, p)
			}
		}
	})
	t.Run("no state in package variables under pkg", func(t *testing.T) {
		for _, p := range pkgs {
			if name, own := short(p.PkgPath); own && p.ForTest == "" && strings.HasPrefix(name, "pkg/") {
				checkGlobals(t, p)
			}
		}
	})
	t.Run("F7 SQL is constant", func(t *testing.T) {
		for _, p := range pkgs {
			// A database that a test makes has a name, which no statement takes as a parameter.
			if name, _ := short(p.PkgPath); p.ForTest == "" && name != "tools/testserver" {
				checkSQL(t, p)
			}
		}
	})
}

func checkImports(t *testing.T, p *packages.Package) {
	t.Helper()
	name, own := short(p.PkgPath)
	if !own || strings.HasSuffix(p.PkgPath, ".test") {
		return
	}
	r, ok := rowOf(name)
	if !ok {
		t.Errorf("%s has no row in tools/importcheck/table_test.go: say there what it may import", name)
		return
	}
	may := r.may
	if p.ForTest != "" {
		may = join(join(may, r.tests...), forTests...)
	}
	paths := make([]string, 0, len(p.Imports))
	for path := range p.Imports {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		other, inside := short(path)
		switch {
		case p.ForTest == "" && strings.HasPrefix(name, "pkg/") && strings.HasPrefix(other, "tools/"):
			t.Errorf("%s imports %s: only its tests may import a tool", name, other)
		case inside && (other == name || strings.HasPrefix(other, name+"/") || matches(may, other)):
		case inside:
			t.Errorf("%s imports %s, which its row %q in tools/importcheck/table_test.go does not allow (it may: %s)",
				name, other, r.pattern, strings.Join(may, ", "))
		case p.ForTest == "" && matches(r.never, path):
			t.Errorf("%s imports %s, which its row %q in tools/importcheck/table_test.go forbids", name, path, r.pattern)
		}
	}
}

func checkComment(t *testing.T, p *packages.Package) {
	t.Helper()
	for _, f := range p.Syntax {
		if f.Doc != nil {
			return
		}
	}
	if len(p.Syntax) > 0 {
		t.Errorf("package %s has no package comment: say in one sentence what it is", p.PkgPath)
	}
}

// checkGlobals finds package variables that change: assigned to outside of
// their declaration, or of a type that exists to change.
func checkGlobals(t *testing.T, p *packages.Package) {
	t.Helper()
	global := func(e ast.Expr) *types.Var {
		id, ok := e.(*ast.Ident)
		if !ok {
			return nil
		}
		v, ok := p.TypesInfo.Uses[id].(*types.Var)
		if !ok || v.Parent() != p.Types.Scope() {
			return nil
		}
		return v
	}
	report := func(pos token.Pos, v *types.Var) {
		t.Errorf("%s: package variable %s changes: a package under pkg keeps no state of its own", p.Fset.Position(pos), v.Name())
	}
	for _, name := range p.Types.Scope().Names() {
		if v, ok := p.Types.Scope().Lookup(name).(*types.Var); ok {
			s := strings.TrimPrefix(v.Type().String(), "*")
			if strings.HasPrefix(s, "sync.") && s != "sync.Pool" || strings.HasPrefix(s, "sync/atomic.") {
				report(v.Pos(), v)
			}
		}
	}
	for _, f := range p.Syntax {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, e := range n.Lhs {
					if ix, ok := e.(*ast.IndexExpr); ok {
						e = ix.X
					}
					if v := global(e); v != nil {
						report(n.Pos(), v)
					}
				}
			case *ast.IncDecStmt:
				if v := global(n.X); v != nil {
					report(n.Pos(), v)
				}
			}
			return true
		})
	}
}

// checkSQL holds contract F7: a statement handed to database/sql or pgx is a
// constant or a parameter, never put together from pieces at run time.
func checkSQL(t *testing.T, p *packages.Package) {
	t.Helper()
	for _, f := range p.Syntax {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			fn, ok := p.TypesInfo.Uses[sel.Sel].(*types.Func)
			if !ok || fn.Pkg() == nil {
				return true
			}
			at, ok := statementAt(fn.Pkg().Path(), fn.Name())
			if !ok || at >= len(call.Args) || receiver(fn) == "Stmt" {
				return true
			}
			arg := call.Args[at]
			if p.TypesInfo.Types[arg].Value != nil {
				return true
			}
			switch arg.(type) {
			case *ast.BinaryExpr, *ast.CallExpr:
				t.Errorf("%s: the statement is built at run time; SQL stands in constants (contract F7)", p.Fset.Position(arg.Pos()))
			}
			return true
		})
	}
}

// statementAt is which argument of a package's function is a statement.
func statementAt(pkg, name string) (int, bool) {
	var arguments map[string]int
	switch pkg {
	case "database/sql":
		arguments = map[string]int{
			"Exec": 0, "Query": 0, "QueryRow": 0, "Prepare": 0,
			"ExecContext": 1, "QueryContext": 1, "QueryRowContext": 1, "PrepareContext": 1,
		}
	case "github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/pgxpool":
		arguments = map[string]int{"Queue": 0, "Exec": 1, "Query": 1, "QueryRow": 1, "Prepare": 2}
	}
	at, ok := arguments[name]
	return at, ok
}

// receiver is the name of the type that fn is a method of.
func receiver(fn *types.Func) string {
	recv := fn.Signature().Recv()
	if recv == nil {
		return ""
	}
	typ := recv.Type()
	if ptr, ok := typ.(*types.Pointer); ok {
		typ = ptr.Elem()
	}
	if named, ok := typ.(*types.Named); ok {
		return named.Obj().Name()
	}
	return ""
}
