package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/services/janitor"
)

type fsckCommand struct {
	settings
	Deep   bool   `help:"Also read every blob and compare its digest."`
	Repair bool   `help:"Read every blob, mark what is lost or damaged, so that the next push repairs it, and have upstreams give again what came from them. A running server does it."`
	Output string `short:"o" enum:"table,json" default:"table" help:"table for people, json for programs (one finding a line, the summary last)."`
}

// Help is the longer text of --help.
func (fsckCommand) Help() string {
	return `Examines metadata and blobs and reports everything that is not as it must be: pointers to bytes that are missing or of another size, tags without a manifest, a quota that does not add up, bytes nothing knows. Without --repair it changes nothing. A cluster may be in use meanwhile. Where data_dir holds the data, stop the server first: one process at a time may have it.

  berth fsck
  berth fsck --deep --data-dir /var/lib/berth
  berth fsck --repair
  berth fsck -o json | jq -r '.repositories[]?'

With --repair a server that answers at admin_addr scrubs, within its scrub_rate, and names up to 100 damaged blobs; if none answers, this process scrubs, and checks the rest as without it.

The exit code is 0 when there are no problems, 1 when something was found, also if the next push repairs it, and 3 when the check could not be finished: then it says nothing about what is whole.`
}

// errUnfinished is what fsck fails with that could not check everything.
var errUnfinished = errors.New("the check could not be finished")

// errFindings is what fsck fails with after it has told what it found.
var errFindings = errors.New("the check found problems; see above")

// Run checks and reports.
func (c fsckCommand) Run(e *env) error {
	loaded, err := c.read(e)
	if err != nil {
		return err
	}
	if err := loaded.CheckStores(); err != nil {
		return c.unfinished(e.stdout, err)
	}
	found := 0
	report := func(f meta.Finding) {
		found++
		c.print(e.stdout, f)
	}
	if c.Repair {
		return c.repair(e, loaded.Config, report, &found)
	}
	progress := func(objects int64) { fmt.Fprintf(e.stderr, "%s objects checked\n", humanize.Comma(objects)) }
	sum, err := assemble.Check(e.ctx, loaded.Config, c.Deep, progress, report)
	if err != nil {
		return c.unfinished(e.stdout, err)
	}
	c.conclude(e.stdout, sum, found)
	if found > 0 {
		return errFindings
	}
	return nil
}

// unfinished tells programs too.
func (c fsckCommand) unfinished(w io.Writer, err error) error {
	if c.Output == "json" {
		_ = encoder(w).Encode(map[string]string{"error": err.Error()})
	}
	return fmt.Errorf("%w: %w", errUnfinished, err)
}

func (c fsckCommand) print(w io.Writer, f meta.Finding) {
	if c.Output == "json" {
		_ = encoder(w).Encode(f)
		return
	}
	fmt.Fprintf(w, "%-4s %s%s\n", f.Invariant, f.Detail, where(f.Place))
}

func (c fsckCommand) conclude(w io.Writer, sum janitor.Summary, found int) {
	if c.Output == "json" {
		_ = encoder(w).Encode(map[string]any{"summary": struct {
			janitor.Summary
			Findings int `json:"findings"`
		}{sum, found}})
		return
	}
	fmt.Fprintf(w, "%s objects, %s live, %s in the store: %s\n",
		humanize.Comma(sum.Objects), humanize.IBytes(uint64(sum.Bytes)), humanize.Comma(sum.Stored), verdict(found))
}

// encoder writes one line for each value, with texts as people read them.
func encoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// where is the end of a finding's line.
func where(p meta.Place) string {
	switch {
	case len(p.Repositories) > 0:
		return " (" + strings.Join(p.Repositories, ", ") + ")"
	case p.Tenant != "":
		return " (tenants/" + p.Tenant + ")"
	default:
		return ""
	}
}

func verdict(found int) string {
	if found == 0 {
		return "no problems found"
	}
	if found == 1 {
		return "1 finding"
	}
	return fmt.Sprintf("%d findings", found)
}
