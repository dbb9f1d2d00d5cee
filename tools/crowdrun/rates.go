package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

const (
	ownRate  = 100                   // requests a second that a tenant may send
	overRate = 10 * ownRate          // that one of them sends
	overBy   = 20                    // connections that it sends them on
	quietGap = 25 * time.Millisecond // between two requests of the other tenant
)

// rates lets a tenant send ten times as many requests as it may, beside one that pulls,
// pushes, lists and asks for tokens within its rate.
func rates(ctx context.Context, o options, dir string, out io.Writer) error {
	on := []string{"embedded"}
	if o.full {
		on = append(on, "postgres")
	}
	for _, on := range on {
		at := filepath.Join(dir, on)
		if err := os.Mkdir(at, 0o700); err != nil {
			return err
		}
		if err := ratesOn(ctx, o, at, on, out); err != nil {
			return fmt.Errorf("%s: %w", on, err)
		}
	}
	return nil
}

func ratesOn(ctx context.Context, o options, dir, on string, out io.Writer) (err error) {
	t, err := startTown(ctx, o, dir, on == "postgres", fmt.Sprintf("BERTH_TENANT_REQUESTS=%d", ownRate))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	loud, err := t.resident(ctx, "loud", "", "")
	if err != nil {
		return err
	}
	quiet, err := t.resident(ctx, "quiet", "", "")
	if err != nil {
		return err
	}
	for _, c := range []*ociclient.Client{loud, quiet} {
		if err := (&pusher{client: c}).push(ctx); err != nil {
			return err
		}
	}
	length, rounds := 3*time.Second, 1
	if o.full {
		length, rounds = 20*time.Second, 3
	}
	kinds := quietKinds(quiet)
	worst := make([][]float64, len(kinds)) // of each kind, how p99 beside is to p99 alone
	for range rounds {
		alone, err := quietly(ctx, kinds, length)
		if err != nil {
			return err
		}
		var sent, refused atomic.Int64
		stop, storm := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- storming(stop, loud, &sent, &refused) }()
		beside, err := quietly(ctx, kinds, length)
		storm()
		if err = errors.Join(err, <-done); err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s: another tenant sent %d requests in %s, of which %d were refused\n", on, sent.Load(), length, refused.Load())
		for i, k := range kinds {
			fmt.Fprintf(out, "  %s: %-5s alone %s\n  %s: %-5s beside %s\n", on, k.name, alone[i], on, k.name, beside[i])
			worst[i] = append(worst[i], float64(beside[i].percentile(99))/float64(max(alone[i].percentile(99), time.Millisecond)))
		}
		if refused.Load() < sent.Load()/2 {
			return fmt.Errorf("only %d of %d requests were refused", refused.Load(), sent.Load())
		}
	}
	bound := 10.0 // a short run has too few calls for a p99 that could be compared closely
	if o.full {
		bound = 1.5
	}
	var verdicts []error
	for i, k := range kinds {
		slices.Sort(worst[i])
		if median := worst[i][len(worst[i])/2]; median > bound {
			verdicts = append(verdicts, fmt.Errorf("%s: p99 is %.2f times that alone, %.1f at most", k.name, median, bound))
		}
	}
	return judge(o, out, verdicts...)
}

// quietKind is one kind of request of the tenant within its rate.
type quietKind struct {
	name string
	call func(ctx context.Context) error
}

func quietKinds(c *ociclient.Client) []quietKind {
	p := &pusher{client: c}
	return []quietKind{
		{"pull", func(ctx context.Context) error { _, _, err := c.Manifest(ctx, "app", "v1"); return err }},
		{"push", p.push},
		{"list", func(ctx context.Context) error { return get(ctx, c, "/v2/app/tags/list") }},
		{"token", func(ctx context.Context) error {
			host, _, _ := strings.Cut(c.Host, ":")
			return get(ctx, c, "/token?service="+host+"&scope=repository:app:pull")
		}},
	}
}

// get is a GET with the client's account that must succeed.
func get(ctx context.Context, c *ociclient.Client, path string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+path, nil)
	if err != nil {
		return err
	}
	r.Host = c.Host
	r.SetBasicAuth(c.User, c.Secret)
	resp, err := c.HTTP.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return err
}

// quietly sends the kinds in turn with gaps, and says how long each took.
func quietly(ctx context.Context, kinds []quietKind, length time.Duration) ([]*latencies, error) {
	times := make([]*latencies, len(kinds))
	for i := range times {
		times[i] = &latencies{}
	}
	for end := time.Now().Add(length); time.Now().Before(end); {
		for i, k := range kinds {
			began := time.Now()
			if err := k.call(ctx); err != nil {
				return nil, fmt.Errorf("%s within the rate: %w", k.name, err)
			}
			times[i].add(began)
			if err := pause.For(ctx, quietGap); err != nil {
				return nil, err
			}
		}
	}
	return times, nil
}

// storming sends pulls at ten times the rate until ctx ends.
func storming(ctx context.Context, c *ociclient.Client, sent, refused *atomic.Int64) error {
	return together(overBy, func(int) error {
		ticks := time.NewTicker(overBy * time.Second / overRate)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticks.C:
			}
			_, _, err := c.Manifest(context.WithoutCancel(ctx), "app", "v1")
			sent.Add(1)
			switch {
			case err != nil && ociclient.StatusOf(err) == http.StatusTooManyRequests:
				refused.Add(1)
			case err != nil:
				return err
			}
		}
	})
}
