package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/pause"
)

// What the contract promises of them (rows S1 to S5), and how a client works meanwhile.
const (
	silentBound  = 60 * time.Second
	silentShort  = 15 * time.Second // where the bound is that of a header
	silentEvery  = 100 * time.Millisecond
	silentAnswer = 5 * time.Second // how long the client waits at most

	silentPace = 5 * time.Millisecond // between two that come

	silentFiles = 1024 // descriptors of the server
	silentFull  = 1100
	silentFew   = 150
	silentRoom  = 60 // connections that the server takes of few, so that they are a crowd
)

// silent opens them one soon after the other, and waits until all are gone, at a server on a directory
// and at one of a cluster, with TLS. Few are played for the short bound only, in which a
// full server must have made room of the others.
func silent(ctx context.Context, o options, dir string, out io.Writer) error {
	n, bound := silentFull, silentBound
	var settings []string
	if !o.full {
		n, bound = silentFew, silentShort
		if !o.figures { // an older one does not know the setting
			settings = append(settings, fmt.Sprintf("BERTH_MAX_CONNECTIONS=%d", silentRoom))
		}
	}
	crowds := []struct {
		name  string
		start func(context.Context, options, string, ...string) (*beset, error)
		out   bytes.Buffer
		err   error
	}{{name: "plain", start: besetPlain}, {name: "tls", start: besetTLS}}
	var all sync.WaitGroup
	for i := range crowds {
		c := &crowds[i]
		play := func() {
			b, err := c.start(ctx, o, filepath.Join(dir, c.name), settings...)
			if err == nil {
				err = b.play(ctx, o, n, bound, &c.out)
			}
			c.err = err
		}
		if o.full {
			play()
		} else {
			all.Go(play)
		}
	}
	all.Wait()
	var errs []error
	for i := range crowds {
		fmt.Fprintf(out, "  %s:\n%s", crowds[i].name, &crowds[i].out)
		errs = append(errs, crowds[i].err)
	}
	return errors.Join(errs...)
}

// play opens n silent connections at the server.
func (b *beset) play(ctx context.Context, o options, n int, bound time.Duration, out io.Writer) error {
	defer func() { _ = b.Kill() }()
	w := b.watcher
	if err := w.push(ctx); err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	var work sync.WaitGroup
	work.Go(func() { w.every(working, w.pull, &w.pulls, &w.lost) })
	work.Go(func() { w.every(working, w.probe, &w.probes, &w.unready) })

	stay := map[string]int{}
	var mu sync.Mutex
	var crowd sync.WaitGroup
	began := time.Now()
	var last time.Duration
	for i := range n {
		p := b.phases[i%len(b.phases)]
		crowd.Go(func() {
			gone := p.play(ctx, bound)
			mu.Lock()
			defer mu.Unlock()
			if gone {
				last = max(last, time.Since(began))
			} else if p.short || o.full {
				stay[p.listener+": "+p.phase]++
			}
		})
		_ = pause.For(ctx, silentPace)
	}
	crowd.Wait()
	stop()
	work.Wait()
	fmt.Fprintf(out, "  %d silent connections: the last that ended did after %s; of those that must, these stay: %v\n", n, last.Round(100*time.Millisecond), stay)
	fmt.Fprintf(out, "  pulls: %s, %d failed; /readyz: %s, %d failed\n", &w.pulls, w.lost.Load(), &w.probes, w.unready.Load())
	if o.figures || len(stay) == 0 && w.lost.Load() == 0 && w.unready.Load() == 0 {
		return nil
	}
	return errors.Join(errors.New("silent connections stay, or others notice them"), w.first)
}
