package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"text/tabwriter"
)

// point is a step of an operation of a deployment: where to kill.
type point struct {
	operation operation
	step      step
}

func (p point) String() string { return fmt.Sprintf("%s / %v", p.operation.name, p.step) }

// survey is how often each step of each operation came when nobody was killed.
type survey struct {
	operation operation
	steps     []step
}

// print is the table of all points.
func printSurveys(out io.Writer, name string, surveys []survey) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s: operation\tfaults\tstep\ttimes\n", name)
	total := 0
	for _, s := range surveys {
		for _, step := range s.steps {
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\n", s.operation.name, s.operation.rows, step.name, step.n)
			total += step.n
		}
	}
	fmt.Fprintf(table, "%d points\n", total)
	_ = table.Flush() // to a terminal or a log
}

// plan chooses points in an order that spreads them: rounds over the operations,
// in each the kinds of step before the times that they come, and no point twice
// before all had their turn. It is endless.
func plan(rng *rand.Rand, surveys []survey) func() point {
	var queues [][]point
	refill := func() {
		queues = nil
		for _, s := range surveys {
			queues = append(queues, spread(rng, s))
		}
	}
	at := 0
	return func() point {
		for empty := 0; ; at++ {
			if empty == len(queues) {
				refill()
				empty = 0
			}
			i := at % len(queues)
			if len(queues[i]) == 0 {
				empty++
				continue
			}
			p := queues[i][0]
			queues[i] = queues[i][1:]
			at++
			return p
		}
	}
}

// spread orders the points of an operation: one of each kind, then another one
// of each kind, and so on.
func spread(rng *rand.Rand, s survey) []point {
	times := make([][]int, len(s.steps))
	left := 0
	for i, step := range s.steps {
		times[i] = rng.Perm(step.n)
		left += step.n
	}
	var points []point
	for left > 0 {
		for _, i := range rng.Perm(len(times)) {
			if len(times[i]) == 0 {
				continue
			}
			points = append(points, point{s.operation, step{s.steps[i].name, times[i][0] + 1}})
			times[i] = times[i][1:]
			left--
		}
	}
	return points
}
