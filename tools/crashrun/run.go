package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// deepEvery is how seldom fsck reads every byte again.
const deepEvery = 25

// progressEvery is after how many runs a line says so.
const progressEvery = 250

// shapes are the deployments, by their names. Where both run, each has its share
// of the runs: a cluster has more kinds of steps.
var shapes = []struct {
	name  string
	share int
	make  func(berth, dir string, w *watch) (deployment, error)
}{
	{"embedded", 1, func(berth, dir string, w *watch) (deployment, error) { return newEmbedded(berth, dir, w) }},
	{"cluster", 2, func(berth, dir string, w *watch) (deployment, error) { return newCluster(berth, dir, w) }},
}

// shares is the sum of all.
const shares = 3

func run(ctx context.Context, o options, out io.Writer) error {
	fmt.Fprintf(out, "crashrun -runs %d -seed %d\n", o.runs, o.seed)
	dir := o.dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "crashrun"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for i, shape := range shapes {
		if o.shape != "" && o.shape != shape.name {
			continue
		}
		runs := o.runs
		if o.shape == "" {
			runs = runs * shape.share / shares
		}
		dir := filepath.Join(dir, shape.name)
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		w := &watch{}
		d, err := shape.make(o.berth, dir, w)
		if err != nil {
			return fmt.Errorf("%s: %w", shape.name, err)
		}
		r := runner{options: o, name: shape.name, out: out, client: &client{
			deployment: d, watch: w, books: newBooks(), rng: rand.New(rand.NewPCG(o.seed, uint64(i))),
		}}
		if err := r.runAll(ctx, runs); err != nil {
			return fmt.Errorf("%s: %w", shape.name, err)
		}
	}
	return nil
}

// runner kills the victim of one deployment.
type runner struct {
	options
	*client
	name string
	out  io.Writer
}

func (r *runner) runAll(ctx context.Context, runs int) error {
	if err := r.start(ctx); err != nil {
		return fmt.Errorf("%w\nend of the node's log:\n%s", err, r.log())
	}
	defer r.close()
	surveys, err := r.survey(ctx)
	if err != nil {
		return err
	}
	if printSurveys(r.out, r.name, surveys) == 0 {
		return errors.New("there is no step to kill at")
	}
	began := time.Now()
	t, err := r.killAll(ctx, plan(r.rng, surveys), runs)
	if err != nil {
		return err
	}
	// What is held only by the grace of a push goes now.
	if err := errors.Join(r.clearAway(ctx), r.verifyAll(ctx, r.ledger.Registers()), r.verifyQuota(ctx), r.verifyEvents(ctx)); err != nil {
		return err
	}
	if said, err := r.fsck(ctx, true); err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	took := time.Since(began)
	fmt.Fprintf(r.out, "ok   %s: %d runs with %d kills in %v (%v each), %d points not reached, %d answers asked to come later; "+
		"%d registers are as the ledger says, %d changes left their events, the quota is exact, fsck finds nothing\n",
		r.name, runs, t.kills, took.Round(time.Second), (took / time.Duration(runs)).Round(time.Millisecond),
		t.missed, r.refusals, len(r.ledger.Registers()), len(r.changes))
	return nil
}

// tally is what became of the planned points.
type tally struct{ kills, missed int }

// killAll does operations until the victim has died in so many of them. A point
// may be missed: operations do not always take the same steps.
func (r *runner) killAll(ctx context.Context, next func() point, runs int) (tally, error) {
	var t tally
	for done := 0; done < runs; {
		if err := ctx.Err(); err != nil {
			return t, err
		}
		p := next()
		if r.rng.IntN(4) > 0 {
			p.second = step{}
		}
		r.second = p.second
		kills, err := r.once(ctx, p.operation, p.step, (done+1)%deepEvery == 0)
		if err != nil {
			return t, fmt.Errorf("killed at %v: %w\nend of the node's log:\n%s", p, err, r.log())
		}
		t.kills += kills
		if kills == 0 {
			if t.missed++; t.missed > 2*runs {
				return t, fmt.Errorf("%d points were never reached", t.missed)
			}
			continue
		}
		if done++; done%progressEvery == 0 {
			fmt.Fprintf(r.out, "%d of %d runs\n", done, runs)
		}
	}
	return t, nil
}

// survey does every operation once and counts its steps.
func (r *runner) survey(ctx context.Context) ([]survey, error) {
	var surveys []survey
	for _, op := range operations {
		if r.only != "" && r.only != op.name || op.shape != "" && op.shape != r.name {
			continue
		}
		if _, err := r.once(ctx, op, step{}, false); err != nil {
			return nil, fmt.Errorf("%s, nothing killed: %w\nend of the node's log:\n%s", op.name, err, r.log())
		}
		steps := slices.DeleteFunc(r.counted(), func(s step) bool { return !strings.HasSuffix(s.name, op.about) })
		surveys = append(surveys, survey{op, steps})
	}
	if len(surveys) == 0 {
		return nil, fmt.Errorf("there is no operation %q", r.only)
	}
	return surveys, nil
}

// once does an operation, in which the victim dies at the target, and looks
// whether all is as it must be. It says how often the victim died.
func (r *runner) once(ctx context.Context, op operation, target step, deep bool) (int, error) {
	clear(r.touched)
	r.survived = false
	defer func() { r.second = step{} }()
	r.oci = r.victim()
	act, err := op.prepare(ctx, r.client)
	if err != nil {
		return 0, fmt.Errorf("prepare: %w", err)
	}
	r.arm(target)
	err = act(ctx)
	kills := r.disarm()
	if err != nil {
		return kills, err
	}
	if err := r.whole(ctx); err != nil {
		return kills, err
	}
	if err := r.audit(ctx); err != nil {
		return kills, err
	}
	if said, err := r.fsck(ctx, deep); err != nil {
		return kills, fmt.Errorf("%w\n%s", err, said)
	}
	return kills, nil
}
