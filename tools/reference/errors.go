package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

// errorsPage lists the reasons of package fault, which are all there are.
func errorsPage(page *bytes.Buffer) error {
	files, err := sources("pkg/fault")
	if err != nil {
		return err
	}
	page.WriteString("# Errors\n\n" + generated +
		"A registry answers errors in the form of the distribution specification, `{\"errors\": [{\"code\", \"message\", \"detail\"}]}`. `code` is one\n" +
		"of the specification's; a finer reason stands in `detail.reason`. The admin API answers `google.rpc.Status` whose `ErrorInfo` has the\n" +
		"reason. Both name the request by the header `X-Request-Id`, under which it is in the log.\n\n" +
		"| reason | meaning |\n| --- | --- |\n")
	count := 0
	for _, file := range files {
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, s := range group.Specs {
				spec := s.(*ast.ValueSpec)
				if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Reason" {
					continue
				}
				reason, _ := text(spec.Values[0])
				meaning := strings.TrimSpace(spec.Comment.Text())
				if meaning == "" {
					return fmt.Errorf("reason %s has no comment behind it", reason)
				}
				count++
				fmt.Fprintf(page, "| `%s` | %s |\n", reason, escape(strings.ToUpper(meaning[:1])+meaning[1:]+"."))
			}
		}
	}
	if count == 0 {
		return fmt.Errorf("package fault declares no reasons")
	}
	return nil
}
