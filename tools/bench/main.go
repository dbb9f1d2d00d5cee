// Command bench measures Berth and the distribution registry side by side, on
// the same machine, in the same run, by the same client, in turns.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/berth-registry/berth/tools/internal/server"
)

type options struct {
	berth        string
	distribution string
	rounds       int
	period       time.Duration
	mib          int
}

func main() {
	var o options
	flag.StringVar(&o.berth, "berth", "bin/berth", "Berth's binary")
	flag.StringVar(&o.distribution, "distribution", "registry", "the other registry's binary")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each row is measured; the median counts")
	flag.DurationVar(&o.period, "period", 5*time.Second, "how long each measurement of many small things takes")
	flag.IntVar(&o.mib, "mib", 1024, "size of the one large blob in MiB")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Println("FAIL bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	berth, err := server.New(o.berth, dir)
	if err != nil {
		return err
	}
	if err := berth.Start(ctx); err != nil {
		return err
	}
	other, err := startDistribution(ctx, o.distribution, dir)
	if err != nil {
		return errors.Join(err, berth.Kill())
	}
	registries := []*registry{newRegistry(berth.Data), newRegistry(other.addr)}

	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "work\tunit\tberth\tdistribution\tratio\t")
	for _, w := range works(o) {
		figures := [2][]float64{}
		for range o.rounds {
			for i, r := range registries { // in turns: what disturbs one disturbs the other
				figure, err := w.measure(ctx, r)
				if err != nil {
					return errors.Join(fmt.Errorf("%s at %s: %w", w.name, r.Base, err), berth.Kill(), other.process.Kill())
				}
				figures[i] = append(figures[i], figure)
			}
		}
		b, d := median(figures[0]), median(figures[1])
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%.0f\t%.2f\t\n", w.name, w.unit, b, d, b/d)
	}
	return errors.Join(table.Flush(), berth.Stop(), other.process.Kill())
}

func median(figures []float64) float64 {
	slices.Sort(figures)
	return figures[len(figures)/2]
}
