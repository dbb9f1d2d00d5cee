// Command reference writes docs/reference from the code: settings, metrics,
// events and errors. It runs from the root of the repository.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// pages are what it writes, by file name.
var pages = map[string]func(*bytes.Buffer) error{
	"settings.md": settings,
	"metrics.md":  metrics,
	"events.md":   events,
	"errors.md":   errorsPage,
}

func main() {
	for name, write := range pages {
		var page bytes.Buffer
		if err := write(&page); err != nil {
			fmt.Fprintf(os.Stderr, "reference: %s: %v\n", name, err)
			os.Exit(1)
		}
		if err := os.WriteFile(filepath.Join("docs/reference", name), page.Bytes(), 0o644); err != nil { //nolint:gosec // a document for everybody
			fmt.Fprintln(os.Stderr, "reference:", err)
			os.Exit(1)
		}
	}
}

// generated stands below the title of each page.
const generated = "<!-- Written by `make generate`; change the code instead. -->\n\n"
