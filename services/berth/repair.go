package main

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/assemble"
)

// repair scrubs, and counts in found what is reported.
func (c fsckCommand) repair(e *env, config boot.Config, report func(meta.Finding), found *int) error {
	sum, err := assemble.Repair{Progress: progress(e, "scrubbed"), Report: report}.Run(e.ctx, config)
	if err != nil {
		return c.unfinished(e.stdout, err)
	}
	if c.Output == "json" {
		_ = encoder(e.stdout).Encode(map[string]any{"summary": struct {
			assemble.RepairSummary
			Findings int `json:"findings"`
		}{sum, *found}})
	} else {
		by := "this process, which also checked the rest"
		if sum.Server {
			by = "the server; what else berth fsck checks was not"
		}
		fmt.Fprintf(e.stdout, "%s objects, %s, scrubbed by %s: %s damaged, %s fetched again, %s\n",
			humanize.Comma(sum.Objects), size(sum.Bytes), by, humanize.Comma(sum.Damaged), humanize.Comma(sum.Repaired), verdict(*found))
	}
	if *found > 0 {
		return errFindings
	}
	return nil
}
