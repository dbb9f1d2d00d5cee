package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
)

// A work is one row of the table: how much of something a registry does in a
// second.
type work struct {
	name, unit string
	measure    func(context.Context, *registry) (float64, error)
}

// Each measurement pushes content that no other has: serial is in all of it.
var serial atomic.Uint64

func works(o options) []work {
	small := images{size: 1 << 20, clients: 8, period: o.period}
	medium := images{size: 10 << 20, clients: 8, period: o.period}
	return []work{
		{"push of a large blob", "MiB/s", func(ctx context.Context, r *registry) (float64, error) {
			return pushLarge(ctx, r, o.mib)
		}},
		{"pull of it", "MiB/s", func(ctx context.Context, r *registry) (float64, error) {
			return pullLarge(ctx, r, o.mib)
		}},
		{"manifest GET by tag, 64 clients", "/s", func(ctx context.Context, r *registry) (float64, error) {
			return getManifests(ctx, r, o.period)
		}},
		{"push of 1 MiB images, 8 clients", "/s", small.push},
		{"pull of 1 MiB images, 8 clients", "/s", small.pull},
		{"push and pull of 10 MiB images, 8 clients", "/s", medium.mixed},
	}
}

// large is the content of the large blob: one random MiB again and again, since
// neither registry looks for repetitions inside a blob.
func large(mib int, mark uint64) io.Reader {
	block := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(mark, 0))
	for i := 0; i < len(block); i += 8 {
		binary.LittleEndian.PutUint64(block[i:], rng.Uint64())
	}
	parts := make([]io.Reader, mib)
	for i := range parts {
		parts[i] = bytes.NewReader(block)
	}
	return io.MultiReader(parts...)
}

const largeRepo = "bench/large"

func pushLarge(ctx context.Context, r *registry, mib int) (float64, error) {
	mark := serial.Add(1)
	hash := oci.NewHasher(oci.SHA256)
	if _, err := io.Copy(hash, large(mib, mark)); err != nil {
		return 0, err
	}
	digest := hash.Digest().String()
	content := large(mib, mark)

	started := time.Now()
	location, err := r.Open(ctx, largeRepo)
	if err != nil {
		return 0, err
	}
	next, err := r.Stream(ctx, location, content, int64(mib)<<20)
	if err != nil {
		return 0, err
	}
	if err := r.Close(ctx, next, digest, nil); err != nil {
		return 0, err
	}
	r.large = digest
	return float64(mib) / time.Since(started).Seconds(), nil
}

func pullLarge(ctx context.Context, r *registry, mib int) (float64, error) {
	started := time.Now()
	blob, err := r.OpenBlob(ctx, largeRepo, r.large)
	if err != nil {
		return 0, err
	}
	defer blob.Close()
	// Read in large steps: the client shall cost little.
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, blob, make([]byte, 1<<20)); err != nil || n != int64(mib)<<20 {
		return 0, fmt.Errorf("%d bytes came: %w", n, err)
	}
	return float64(mib) / time.Since(started).Seconds(), nil
}

func getManifests(ctx context.Context, r *registry, period time.Duration) (float64, error) {
	const repo, tag = "bench/manifests", "one"
	if err := pushImage(ctx, r.Client, repo, tag, 1<<10); err != nil {
		return 0, err
	}
	return repeat(period, 64, func() error {
		_, ok, err := r.Manifest(ctx, repo, tag)
		if err == nil && !ok {
			err = errors.New("the manifest is not there")
		}
		return err
	})
}

// repeat counts how often clients at once do f in a period, per second.
func repeat(period time.Duration, clients int, f func() error) (float64, error) {
	var done atomic.Int64
	var running sync.WaitGroup
	errs := make([]error, clients)
	started := time.Now()
	for i := range clients {
		running.Go(func() {
			for time.Since(started) < period {
				if errs[i] = f(); errs[i] != nil {
					return
				}
				done.Add(1)
			}
		})
	}
	running.Wait()
	return float64(done.Load()) / time.Since(started).Seconds(), errors.Join(errs...)
}
