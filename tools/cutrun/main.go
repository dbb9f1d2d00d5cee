// Command cutrun pulls blobs through three nodes from an upstream whose line is cut again
// and again (docs/contract.md, T20 to T23). It counts what the upstream sent, byte by byte.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-registry/berth/tools/internal/command"
	"github.com/berth-registry/berth/tools/testserver"
)

// scenario is one blob, the line that it comes by, and its clients.
type scenario struct {
	name     string
	size     int64   // of the blob
	cut      int64   // after so many bytes the line is cut
	pace     float64 // of the line, in bytes per second; 0 = as fast as it can
	clients  int     // at once, on all nodes; every tenth asks for two ranges
	kill     bool    // the node that asks the upstream is killed when it has half of the blob
	hopeless bool    // no client gets it
	most     float64 // how often a byte was asked of the upstream, on average
}

// scenarios are played in this order, hopeless ones beside those after them. The full ones are those of the contract.
func scenarios(full bool) []scenario {
	if full {
		return []scenario{
			{name: "hopeless", size: 64 << 20, cut: 1, clients: 100, hopeless: true},
			{name: "large", size: 3 << 30, cut: 50e6, clients: 20, most: 1.05},
			{name: "crowd", size: 64 << 20, cut: 4 << 20, clients: 1000, most: 1.05},
			{name: "killed", size: 1 << 30, cut: 50e6, pace: 40e6, clients: 20, kill: true, most: 1.05},
		}
	}
	return []scenario{
		{name: "hopeless", size: 8 << 20, cut: 1, clients: 20, hopeless: true},
		{name: "large", size: 200 << 20, cut: 10e6, clients: 20, most: 1.05},
		{name: "crowd", size: 8 << 20, cut: 512 << 10, clients: 200, most: 1.05},
		{name: "killed", size: 200 << 20, cut: 10e6, pace: 40e6, clients: 20, kill: true, most: 1.25},
	}
}

func main() {
	berth := flag.String("berth", "bin/berth", "the server's binary")
	full := flag.Bool("full", false, "the full sizes, for minutes and 20 GB of disk; else about a tenth")
	only := flag.String("only", "", "names of scenarios, separated by commas; empty is all")
	flag.Parse()
	command.Run("cutrun", func(ctx context.Context, out io.Writer) error {
		defer testserver.Stop()
		return run(ctx, *berth, *only, scenarios(*full), out)
	})
}

func run(ctx context.Context, berth, only string, all []scenario, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	one := func(s scenario) error {
		began := time.Now()
		if err := s.play(ctx, berth, out); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(out, "%s: ok in %s\n", s.name, time.Since(began).Round(time.Millisecond))
		return nil
	}
	var waiting errgroup.Group
	for _, s := range all {
		if only != "" && !slices.Contains(strings.Split(only, ","), s.name) {
			continue
		}
		if s.hopeless { // its nodes wait most of the time
			waiting.Go(func() error { return one(s) })
			continue
		}
		if err := one(s); err != nil {
			return errors.Join(err, waiting.Wait())
		}
	}
	return waiting.Wait()
}
