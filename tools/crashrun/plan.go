package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
)

// point is a step of an operation of a deployment: where to kill.
type point struct {
	operation operation
	step      step
	second    step // where to kill once more, while the client tries again
}

func (p point) String() string {
	if p.second == (step{}) {
		return fmt.Sprintf("%s / %v", p.operation.name, p.step)
	}
	return fmt.Sprintf("%s / %v, then at %v", p.operation.name, p.step, p.second)
}

// survey is how often each step of each operation came when nothing was killed.
type survey struct {
	operation operation
	steps     []step
}

// printSurveys writes the table of all points, and returns how many there are.
func printSurveys(out io.Writer, name string, surveys []survey) int {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s: operation\tfaults\tstep\ttimes\n", name)
	total, kinds := 0, 0
	for _, s := range surveys {
		for _, step := range s.steps {
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\n", s.operation.name, s.operation.rows, step.name, step.n)
			total, kinds = total+step.n, kinds+1
		}
	}
	fmt.Fprintf(table, "%d points of %d kinds\n", total, kinds)
	_ = table.Flush() // to a terminal or a log
	return total
}

// plan chooses points in an order that spreads them: first each kind of step of
// each operation once, at one of the times that it comes, then each kind that
// comes more often a second time, and so on until all points had their turn. It
// is endless.
func plan(rng *rand.Rand, surveys []survey) func() point {
	var queue []point
	return func() point {
		if len(queue) == 0 {
			queue = shuffle(rng, surveys)
		}
		p := queue[0]
		queue = queue[1:]
		return p
	}
}

// shuffle is one order of all points.
func shuffle(rng *rand.Rand, surveys []survey) []point {
	var rounds [][]point
	for _, s := range surveys {
		for _, kind := range s.steps {
			for round, nth := range rng.Perm(kind.n) {
				if round == len(rounds) {
					rounds = append(rounds, nil)
				}
				other := s.steps[rng.IntN(len(s.steps))]
				rounds[round] = append(rounds[round], point{
					s.operation, step{kind.name, nth + 1}, step{other.name, 1 + rng.IntN(other.n)},
				})
			}
		}
	}
	for _, r := range rounds {
		rng.Shuffle(len(r), func(i, j int) { r[i], r[j] = r[j], r[i] })
	}
	return slices.Concat(rounds...)
}
