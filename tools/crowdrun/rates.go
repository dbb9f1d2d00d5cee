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
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/testserver"
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
	shapes := []struct {
		name  string
		nodes int
		bound float64 // of p99 to p99 alone
	}{
		{"embedded", 1, 1.5},
		{"three nodes", 3, 3}, // which have the processors with Postgres, Redis, S3 and the clients
	}
	if !o.full {
		shapes = shapes[:1]
	}
	for _, shape := range shapes {
		if err := ratesOn(ctx, o, filepath.Join(dir, shape.name), shape.name, shape.nodes, shape.bound, out); err != nil {
			return fmt.Errorf("%s: %w", shape.name, err)
		}
	}
	return nil
}

// startNodes starts one embedded server, or some on the same Postgres, S3 and Redis.
func startNodes(ctx context.Context, o options, dir string, n int, settings ...string) ([]*town, error) {
	if n > 1 {
		meta, err1 := testserver.NewPostgres(ctx)
		blobs, err2 := testserver.NewS3()
		redis, err3 := testserver.NewRedis()
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		settings = append(settings, "BERTH_META="+meta, "BERTH_BLOBS="+blobs, "BERTH_REDIS="+redis,
			"BERTH_INTERNAL_KEY="+operatorToken, "BERTH_SECRET_KEY="+operatorToken)
	}
	var nodes []*town
	for i := range n {
		at := filepath.Join(dir, strconv.Itoa(i))
		err := os.MkdirAll(at, 0o700)
		if err == nil {
			var t *town
			if t, err = startTown(ctx, o, at, false, settings...); err == nil {
				nodes = append(nodes, t)
				continue
			}
		}
		return nil, errors.Join(err, stopNodes(nodes))
	}
	return nodes, nil
}

func stopNodes(nodes []*town) error {
	var err error
	for _, t := range nodes {
		err = errors.Join(err, t.Stop())
	}
	return err
}

func ratesOn(ctx context.Context, o options, dir, on string, n int, bound float64, out io.Writer) (err error) {
	nodes, err := startNodes(ctx, o, dir, n, fmt.Sprintf("BERTH_TENANT_REQUESTS=%d", ownRate))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopNodes(nodes)) }()
	loud, err := nodes[0].resident(ctx, "loud", "", "")
	if err != nil {
		return err
	}
	quiet, err := nodes[0].resident(ctx, "quiet", "", "")
	if err != nil {
		return err
	}
	var louds []*ociclient.Client // of each node
	for _, t := range nodes {
		c := *loud
		c.Base = "http://" + t.Data
		louds = append(louds, &c)
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
		go func() { done <- storming(stop, louds, &sent, &refused) }()
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
	if !o.full {
		bound = 10 // a short run has too few calls for a p99 that could be compared closely
	}
	var verdicts []error
	for i, k := range kinds {
		slices.Sort(worst[i])
		if median := worst[i][len(worst[i])/2]; median > bound {
			verdicts = append(verdicts, fmt.Errorf("%s: the median p99 is %.2f times that alone, %.1f at most", k.name, median, bound))
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
func storming(ctx context.Context, nodes []*ociclient.Client, sent, refused *atomic.Int64) error {
	return together(overBy, func(worker int) error {
		c := nodes[worker%len(nodes)]
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
