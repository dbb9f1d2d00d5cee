package main

import (
	"encoding/json"
	"fmt"

	"github.com/berth-registry/berth/pkg/boot"
)

type versionCommand struct {
	Output string `short:"o" enum:"text,json" default:"text" placeholder:"FORMAT" help:"text or json."`
}

func (c versionCommand) Run(e *env) error {
	v := boot.ReadVersion()
	if c.Output == "json" {
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	commit := v.Commit
	switch {
	case commit == "":
		commit = "unknown"
	case v.Modified:
		commit += " with changes"
	}
	_, err := fmt.Fprintf(e.stdout, "berth %s\ncommit %s\n%s %s\n", v.Version, commit, v.Go, v.Platform)
	return err
}
