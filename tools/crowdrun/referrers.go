package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// idleTime is how long a tenant is watched alone, to compare with.
const idleTime = 2 * time.Second

// referrers deletes a subject with many referrers while another tenant pushes.
func referrers(ctx context.Context, o options, dir string, out io.Writer) error {
	n := 3_000
	if o.full {
		n = 30_000
	}
	for _, on := range []string{"embedded", "postgres"} {
		at := filepath.Join(dir, on)
		if err := os.Mkdir(at, 0o700); err != nil {
			return err
		}
		if err := referrersOn(ctx, o, at, on, n, out); err != nil {
			return fmt.Errorf("%s: %w", on, err)
		}
	}
	return nil
}

func referrersOn(ctx context.Context, o options, dir, on string, n int, out io.Writer) (err error) {
	t, err := startTown(ctx, o, dir, on == "postgres")
	if err != nil {
		return err
	}
	defer func() {
		began := time.Now()
		err = errors.Join(err, t.Stop())
		fmt.Fprintf(out, "  %s: stopped in %s\n", on, time.Since(began).Round(time.Millisecond))
	}()
	large, err := t.resident(ctx, "large", "delete_referrers", `{"delete_referrers": true}`)
	if err != nil {
		return err
	}
	small, err := t.resident(ctx, "small", "", "")
	if err != nil {
		return err
	}
	began := time.Now()
	subject, err := pushReferrers(ctx, large, n)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %s: %d referrers were pushed in %s\n", on, n, time.Since(began).Round(time.Millisecond))

	p := &pusher{client: small}
	idle, _, _ := t.during(ctx, p, func() error { return pause.For(ctx, idleTime) })
	fmt.Fprintf(out, "  %s: another tenant's pushes alone: %s\n", on, idle)
	var answered, gone time.Duration
	beside, unready, err := t.during(ctx, p, func() error {
		began := time.Now()
		if _, err := large.DeleteManifest(ctx, "app", subject); err != nil {
			return err
		}
		answered = time.Since(began)
		for ctx.Err() == nil {
			left, err := large.Referrers(ctx, "app", subject)
			if err != nil {
				return err
			}
			if len(left) == 0 {
				gone = time.Since(began)
				return nil
			}
			_ = pause.For(ctx, 200*time.Millisecond)
		}
		return ctx.Err()
	})
	fmt.Fprintf(out, "  %s: beside the deletion: %s; %d refused, %d times not ready; answered in %s, all gone in %s\n",
		on, beside, p.refused.Load(), unready, answered.Round(time.Millisecond), gone.Round(time.Millisecond))
	if err != nil {
		return err
	}
	// Both run on the same processors, and a few slow commits decide over a percentile
	// of a short run.
	bound := max(3*idle.percentile(99), 100*time.Millisecond)
	var refused, notReady error
	if p.refused.Load() > 0 {
		refused = fmt.Errorf("%d pushes were refused: %w", p.refused.Load(), p.why())
	}
	if unready > 0 {
		notReady = fmt.Errorf("the server was not ready %d times", unready)
	}
	return judge(o, out, refused, notReady, within("p99 of the other tenant's pushes", beside.percentile(99), bound))
}

// pushReferrers pushes a subject and n referrers of it, by many clients.
func pushReferrers(ctx context.Context, c *ociclient.Client, n int) (string, error) {
	config := ocitest.Empty()
	if err := c.PostBlob(ctx, "app", config.Digest.String(), config.Bytes); err != nil {
		return "", err
	}
	subject := ocitest.Manifest(config)
	if err := c.PutManifest(ctx, "app", "v1", subject.Bytes); err != nil {
		return "", err
	}
	const clients = 32
	return subject.Digest.String(), together(clients, func(worker int) error {
		for i := worker; i < n; i += clients {
			m := ocitest.Extra{Subject: &subject.Descriptor, Annotations: map[string]string{"number": strconv.Itoa(i)}}.Manifest(config)
			if err := c.PutManifest(ctx, "app", m.Digest.String(), m.Bytes); err != nil {
				return err
			}
		}
		return nil
	})
}

// together runs n workers and returns the error of one that failed.
func together(n int, work func(i int) error) error {
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range n {
		wg.Go(func() {
			if err := work(i); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
