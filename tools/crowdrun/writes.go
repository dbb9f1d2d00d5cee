package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// writes lets a tenant push manifests of 10,000 references on 4 connections beside
// one that pushes small images.
func writes(ctx context.Context, o options, dir string, out io.Writer) error {
	return besides(ctx, o, dir, out, "manifests of 10,000 references on 4 connections", func(ctx context.Context, c *ociclient.Client, done *atomic.Int64) error {
		return together(4, func(worker int) error {
			for i := 0; ctx.Err() == nil; i++ {
				m := manyReferences(worker, i)
				err := c.PutManifest(context.WithoutCancel(ctx), "large", oci.DigestOf(oci.SHA256, m).String(), m)
				if err != nil && ociclient.StatusOf(err) != 429 { // its own limit is its own matter
					return err
				}
				done.Add(1)
			}
			return nil
		})
	})
}

// shares lets a tenant push and pull on forty connections beside one on one.
func shares(ctx context.Context, o options, dir string, out io.Writer) error {
	return besides(ctx, o, dir, out, "pushes and pulls of small images on 40 connections", func(ctx context.Context, c *ociclient.Client, done *atomic.Int64) error {
		p := &pusher{client: c}
		return together(40, func(worker int) error {
			for ctx.Err() == nil {
				var err error
				if worker%4 == 0 {
					err = p.push(context.WithoutCancel(ctx))
				} else {
					_, _, err = c.Manifest(context.WithoutCancel(ctx), "app", "v1")
				}
				if err != nil && ociclient.StatusOf(err) != 429 {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	})
}

// besides compares a tenant's pushes alone with those beside a crowd of another.
func besides(ctx context.Context, o options, dir string, out io.Writer, what string, crowd func(context.Context, *ociclient.Client, *atomic.Int64) error) error {
	for _, on := range []string{"embedded", "postgres"} {
		at := filepath.Join(dir, on)
		if err := os.Mkdir(at, 0o700); err != nil {
			return err
		}
		if err := besidesOn(ctx, o, at, on, out, what, crowd); err != nil {
			return fmt.Errorf("%s: %w", on, err)
		}
	}
	return nil
}

func besidesOn(ctx context.Context, o options, dir, on string, out io.Writer, what string, crowd func(context.Context, *ociclient.Client, *atomic.Int64) error) (err error) {
	t, err := startTown(ctx, o, dir, on == "postgres")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	large, err := t.resident(ctx, "large", "missing_references", `{"missing_references": "ALLOW"}`)
	if err != nil {
		return err
	}
	small, err := t.resident(ctx, "small", "", "")
	if err != nil {
		return err
	}
	length := idleTime
	if o.full {
		length *= 5
	}
	p := &pusher{client: small}
	idle, _, _ := t.during(ctx, p, func() error { return pause.For(ctx, length) })
	fmt.Fprintf(out, "  %s: a tenant's pushes alone: %s\n", on, idle)
	var done atomic.Int64
	beside, unready, err := t.during(ctx, p, func() error {
		ctx, cancel := context.WithTimeout(ctx, length)
		defer cancel()
		return crowd(ctx, large, &done)
	})
	fmt.Fprintf(out, "  %s: beside another's %s: %s; %d refused, %d times not ready; the other was answered %d times\n",
		on, what, beside, p.refused.Load(), unready, done.Load())
	if err != nil {
		return err
	}
	var refused error
	if p.refused.Load() > 0 {
		refused = fmt.Errorf("%d pushes were refused: %w", p.refused.Load(), p.why())
	}
	// A short run has too few pushes for a p99 that could be compared closely.
	verdicts := []error{refused}
	if !o.full {
		return judge(o, out, refused, within("p99 of the small tenant's pushes", beside.percentile(99), max(5*idle.percentile(99), 600*time.Millisecond)))
	}
	apart, err := apartFrom(ctx, o, filepath.Join(dir, "apart"), on, length, func(ctx context.Context) error { return crowd(ctx, large, &done) })
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %s: at servers of its own on the same machine, beside the same: %s\n", on, apart)
	verdicts = append(verdicts, within("p99 of the small tenant's pushes, by that at servers of its own", beside.percentile(99), apart.percentile(99)*3/2))
	if on == "embedded" { // Postgres and S3 are on the crowd's processors, too
		verdicts = append(verdicts, within("p99 of the small tenant's pushes, by that alone", beside.percentile(99), 2*idle.percentile(99)))
	}
	return judge(o, out, verdicts...)
}

// apartFrom measures pushes at servers of their own, of the same kind, while the
// crowd is at others: what clients and servers take of one machine is not a matter
// of fairness within a server.
func apartFrom(ctx context.Context, o options, dir, on string, length time.Duration, crowd func(context.Context) error) (_ *latencies, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	t, err := startTown(ctx, o, dir, on == "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	small, err := t.resident(ctx, "small", "", "")
	if err != nil {
		return nil, err
	}
	apart, _, err := t.during(ctx, &pusher{client: small}, func() error {
		ctx, cancel := context.WithTimeout(ctx, length)
		defer cancel()
		return crowd(ctx)
	})
	return apart, err
}

// manyReferences is an artifact with 10,000 layers, other ones for each number.
func manyReferences(worker, i int) []byte {
	layers := make([]ocitest.Content, 10_000)
	for n := range layers {
		layers[n] = ocitest.New("a/b", fmt.Appendf(nil, "%d/%d/%d", worker, i, n))
	}
	return ocitest.Manifest(ocitest.Empty(), layers...).Bytes
}
