package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/internal/server"
)

// What the contract promises of them (rows S1 to S5), and how a client works meanwhile.
const (
	silentBound  = 60 * time.Second
	silentShort  = 15 * time.Second // where the bound is that of a header
	silentEvery  = 100 * time.Millisecond
	silentAnswer = 5 * time.Second // how long the client waits at most

	silentFiles = 1024 // descriptors of the server
	silentFull  = 1100
	silentFew   = 150
	silentRoom  = 60 // connections that the server takes of few, so that they are a crowd
)

// silent opens them all at once, and waits until all are gone. Few are played for the
// short bound only, in which a full server must have made room of the others.
func silent(ctx context.Context, o options, dir string, out io.Writer) error {
	n, bound := silentFull, silentBound
	var settings []string
	if !o.full {
		n, bound = silentFew, silentShort
		if !o.figures { // an older one does not know the setting
			settings = append(settings, fmt.Sprintf("BERTH_MAX_CONNECTIONS=%d", silentRoom))
		}
	}
	s, err := server.New(o.berth, dir, settings...)
	if err != nil {
		return err
	}
	s.Files = silentFiles
	if err := s.Start(ctx); err != nil {
		return fmt.Errorf("%w; end of its log:\n%s", err, s.LogTail())
	}
	defer func() { _ = s.Kill() }()
	w := watcher{s: s, client: &http.Client{Timeout: silentAnswer, Transport: &http.Transport{DisableKeepAlives: true}}}
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
	phases := silentPhases(s)
	began := time.Now()
	var last time.Duration
	for i := range n {
		p := phases[i%len(phases)]
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

// watcher is who works meanwhile.
type watcher struct {
	s             *server.Server
	client        *http.Client
	blob          string
	pulls, probes latencies
	lost, unready atomic.Int64

	once  sync.Once
	first error
}

func (w *watcher) push(ctx context.Context) error {
	c := &ociclient.Client{Base: "http://" + w.s.Data, Host: "localhost", HTTP: w.client}
	content := make([]byte, 100_000)
	w.blob = fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	return c.PostBlob(ctx, "silent/app", w.blob, content)
}

// every does one thing again and again, on a connection of its own.
func (w *watcher) every(ctx context.Context, do func(context.Context) error, took *latencies, failed *atomic.Int64) {
	tick := time.NewTicker(silentEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		if err := do(ctx); err != nil && ctx.Err() == nil {
			failed.Add(1)
			w.once.Do(func() { w.first = err })
		}
		took.add(began)
	}
}

func (w *watcher) pull(ctx context.Context) error {
	return w.get(ctx, "http://"+w.s.Data+"/v2/silent/app/blobs/"+w.blob)
}

func (w *watcher) probe(ctx context.Context) error { return w.get(ctx, "http://"+w.s.Ops+"/readyz") }

func (w *watcher) get(ctx context.Context, target string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	r.Host = "localhost"
	res, err := w.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %.200s", target, res.StatusCode, said)
	}
	return err
}
