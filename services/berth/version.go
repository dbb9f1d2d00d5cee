package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"github.com/berth-registry/berth/pkg/boot"
)

type versionCommand struct {
	Output string `short:"o" enum:"text,json" default:"text" placeholder:"FORMAT" help:"text or json."`
}

// Help is the longer text of --help.
func (versionCommand) Help() string {
	return `Says from which version and commit the binary was built, as berth --version does.

  berth version
  berth version -o json`
}

func (c versionCommand) Run(e *env) error {
	v := boot.ReadVersion()
	if c.Output == "json" {
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	return writeVersion(e.stdout, v)
}

// versionFlag is --version, which needs no command.
type versionFlag bool

// BeforeReset is kong's hook for a flag that is looked at before all others.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	err := writeVersion(app.Stdout, boot.ReadVersion())
	app.Exit(exitOK)
	return err
}

func writeVersion(w io.Writer, v boot.Version) error {
	commit := v.Commit
	switch {
	case commit == "":
		commit = "unknown"
	case v.Modified:
		commit += " with changes"
	}
	_, err := fmt.Fprintf(w, "berth %s\ncommit %s\n%s %s\n", v.Version, commit, v.Go, v.Platform)
	return err
}
