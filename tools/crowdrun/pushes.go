package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

const (
	pushesFull = 800
	pushesFew  = 100
)

// pushes lets many clients push at once to a node on Postgres and S3, each a few
// images one after the other.
func pushes(ctx context.Context, o options, dir string, out io.Writer) (err error) {
	n, each := pushesFew, 2
	if o.full {
		n, each = pushesFull, 3
	}
	t, err := startTown(ctx, o, dir, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	c, err := t.resident(ctx, "crowd", "", "")
	if err != nil {
		return err
	}
	p := &pusher{client: c}
	if err := p.push(ctx); err != nil {
		return err
	}
	var took latencies
	var statuses sync.Map // of refusals, by status: *atomic.Int64
	unready := 0
	pushing, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for pushing.Err() == nil {
			if !t.Ready(context.WithoutCancel(pushing)) {
				unready++
			}
			_ = pause.For(pushing, 100*time.Millisecond)
		}
	}()
	began := time.Now()
	_ = together(n, func(int) error {
		for range each {
			at := time.Now()
			if err := p.push(ctx); err != nil {
				p.refused.Add(1)
				p.last.Store(&err)
				count, _ := statuses.LoadOrStore(ociclient.StatusOf(err), new(atomic.Int64))
				count.(*atomic.Int64).Add(1)
			}
			took.add(at)
		}
		return nil
	})
	all := time.Since(began)
	stop()
	<-watched
	fmt.Fprintf(out, "  %d clients pushed %d images each, in %s: %s; %d refused, %d times not ready\n",
		n, each, all.Round(time.Millisecond), &took, p.refused.Load(), unready)
	statuses.Range(func(status, count any) bool {
		fmt.Fprintf(out, "  %d answers of status %v (0 is none)\n", count.(*atomic.Int64).Load(), status)
		return true
	})
	var refused, notReady error
	if p.refused.Load() > 0 {
		refused = fmt.Errorf("%d pushes were refused: %w", p.refused.Load(), p.why())
	}
	if unready > 0 {
		notReady = fmt.Errorf("the server was not ready %d times", unready)
	}
	return judge(o, out, refused, notReady)
}
