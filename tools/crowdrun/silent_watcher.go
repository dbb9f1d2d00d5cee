package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// silentLarge is the path of a large manifest.
const silentLarge = "/v2/silent/app/manifests/large"

// watcher is who works meanwhile.
type watcher struct {
	registry      *ociclient.Client
	ops           string
	client        *http.Client
	blob          string
	pulls, probes latencies
	lost, unready atomic.Int64

	once  sync.Once
	first error
}

func (w *watcher) push(ctx context.Context) error {
	blob := ocitest.Config(make([]byte, 100_000))
	w.blob = blob.Digest.String()
	if err := w.registry.PostBlob(ctx, "silent/app", w.blob, blob.Bytes); err != nil {
		return err
	}
	large := ocitest.Extra{Annotations: map[string]string{"large": strings.Repeat("a", 500_000)}}.Manifest(blob)
	return w.registry.PutManifest(ctx, "silent/app", "large", large.Bytes)
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
	return w.get(ctx, w.registry.Base+"/v2/silent/app/blobs/"+w.blob, w.registry.Host)
}

func (w *watcher) probe(ctx context.Context) error { return w.get(ctx, w.ops+"/readyz", "localhost") }

func (w *watcher) get(ctx context.Context, target, host string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	r.Host = host
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
