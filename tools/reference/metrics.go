package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// metric is what the code says of one.
type metric struct {
	name, kind, help string
	labels           []string
}

// metrics lists every metric that the code declares.
func metrics(page *bytes.Buffer) error {
	files, err := sources("pkg", "services")
	if err != nil {
		return err
	}
	var found []metric
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if m, ok := declared(call); ok {
					found = append(found, m)
				}
			}
			return true
		})
	}
	if len(found) < 10 {
		return errors.New("the code seems to declare no metrics")
	}
	slices.SortFunc(found, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	page.WriteString("# Metrics\n\n" + generated +
		"`/metrics` of the ops listener (`ops_addr`), for Prometheus. Beside these it has those of the Go runtime and of the process.\n\n" +
		"| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, m := range found {
		labels := strings.Join(m.labels, "`, `")
		if labels != "" {
			labels = "`" + labels + "`"
		}
		fmt.Fprintf(page, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, escape(m.help))
	}
	return nil
}

// declared reads a call of one of Prometheus' constructors.
func declared(call *ast.CallExpr) (metric, bool) {
	constructor := ""
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		if pkg, ok := f.X.(*ast.Ident); ok && (pkg.Name == "prometheus" || pkg.Name == "promauto") {
			constructor = f.Sel.Name
		}
	default:
		return metric{}, false
	}
	kind, ok := strings.CutPrefix(constructor, "New")
	if !ok {
		return metric{}, false
	}
	if kind == "Desc" {
		return described(call)
	}
	kind = strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(kind, "Vec"), "Func"))
	if !slices.Contains([]string{"counter", "gauge", "histogram", "summary"}, kind) || len(call.Args) == 0 {
		return metric{}, false
	}
	opts, ok := call.Args[0].(*ast.CompositeLit)
	if !ok {
		return metric{}, false
	}
	m := metric{kind: kind}
	for _, element := range opts.Elts {
		field, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		value, _ := text(field.Value)
		switch key, _ := field.Key.(*ast.Ident); key.Name {
		case "Name":
			m.name = value
		case "Help":
			m.help = value
		}
	}
	if len(call.Args) > 1 {
		m.labels = names(call.Args[1])
	}
	return m, m.name != ""
}

// described reads a call of NewDesc; its name says what kind it is.
func described(call *ast.CallExpr) (metric, bool) {
	if len(call.Args) < 3 {
		return metric{}, false
	}
	var m metric
	m.name, _ = text(call.Args[0])
	m.help, _ = text(call.Args[1])
	m.labels = names(call.Args[2])
	m.kind = "gauge"
	if strings.HasSuffix(m.name, "_total") {
		m.kind = "counter"
	}
	return m, m.name != ""
}

// names reads a []string literal.
func names(e ast.Expr) []string {
	list, ok := e.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	var out []string
	for _, element := range list.Elts {
		if s, ok := text(element); ok {
			out = append(out, s)
		}
	}
	return out
}
