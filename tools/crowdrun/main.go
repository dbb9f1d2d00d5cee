// Command crowdrun plays what crowds and attackers do to a server, while other
// clients work, and tells what these notice. Each load prints its figures and
// fails where one is worse than the contract promises (docs/contract.md).
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/tools/internal/command"
	"github.com/berth-registry/berth/tools/testserver"
)

// options are of the whole run.
type options struct {
	berth   string // the server's binary
	full    bool   // the counts of the contract; else about a tenth of them, for CI
	figures bool   // print the figures and do not judge them, for a binary of an older commit
}

// scenario is one crowd. run starts what it needs below dir, plays within three
// minutes, prints its figures to out, and returns an error where one is worse
// than promised.
type scenario struct {
	name string
	what string // one line for -help
	run  func(ctx context.Context, o options, dir string, out io.Writer) error
}

// scenarios are played in this order, one after the other.
var scenarios = []scenario{
	{"referrers", "a subject with 30,000 referrers is deleted while another tenant pushes", referrers},
	{"silent", "connections that say nothing any more, on every listener and in every phase", silent},
	{"writes", "a tenant pushes manifests of 10,000 references beside one that pushes small images", writes},
	{"shares", "a tenant pushes and pulls on forty connections beside one that pushes on one", shares},
	{"rates", "a tenant sends ten times as many requests as its rate allows, beside one within its own", rates},
	{"slowputs", "four tenants send 32 manifests very slowly while a fifth pushes and pulls large ones", slowputs},
	{"pushes", "800 clients push at once to a node on Postgres and S3", pushes},
}

func main() {
	var o options
	flag.StringVar(&o.berth, "berth", "bin/berth", "the server's binary")
	flag.BoolVar(&o.full, "full", false, "the full counts; else about a tenth")
	flag.BoolVar(&o.figures, "figures", false, "print figures without judging them")
	only := flag.String("only", "", "names of scenarios, separated by commas; empty is all")
	flag.Usage = usage
	flag.Parse()
	command.Run("crowdrun", func(ctx context.Context, out io.Writer) error {
		defer testserver.Stop()
		return run(ctx, o, *only, out)
	})
}

func usage() {
	fmt.Fprintln(flag.CommandLine.Output(), "crowdrun plays what crowds and attackers do to a server. Scenarios:")
	for _, s := range scenarios {
		fmt.Fprintf(flag.CommandLine.Output(), "  %-10s %s\n", s.name, s.what)
	}
	flag.PrintDefaults()
}

func run(ctx context.Context, o options, only string, out io.Writer) error {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	for _, s := range chosen {
		if err := play(ctx, o, s, out); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func choose(only string) ([]scenario, error) {
	if only == "" {
		return scenarios, nil
	}
	var chosen []scenario
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q; -help lists them", name)
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

func play(ctx context.Context, o options, s scenario, out io.Writer) error {
	dir, err := os.MkdirTemp("", "crowdrun")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(out, "%s: %s\n", s.name, s.what)
	started := time.Now()
	if err := s.run(ctx, o, dir, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: ok in %s\n", s.name, time.Since(started).Round(time.Millisecond))
	return nil
}
