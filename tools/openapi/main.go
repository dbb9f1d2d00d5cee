// Command openapi writes an OpenAPI 3.1 document from the OpenAPI 2.0 document
// on its standard input.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	if err := convert(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

// convert reads OpenAPI 2.0 and writes 3.1. The generated document uses no part
// of JSON Schema that 3.0 and 3.1 read differently.
func convert(in io.Reader, out io.Writer) error {
	var v2 openapi2.T
	if err := json.NewDecoder(in).Decode(&v2); err != nil {
		return fmt.Errorf("read the OpenAPI 2.0 document: %w", err)
	}
	v3, err := openapi2conv.ToV3(&v2)
	if err != nil {
		return fmt.Errorf("convert the document: %w", err)
	}
	v3.OpenAPI = "3.1.0"
	// 2.0 can only call a bearer token an API key.
	for _, s := range v3.Components.SecuritySchemes {
		s.Value = openapi3.NewSecurityScheme().WithType("http").WithScheme("bearer").WithDescription(s.Value.Description)
	}
	for _, path := range v3.Paths.Map() {
		for _, op := range path.Operations() {
			if op.RequestBody != nil {
				op.RequestBody.Value.Extensions = nil // the parameter's name in 2.0
			}
		}
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v3)
}
