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
// pushes, lists and asks for tokens within its rate. What these take is compared with what they
// take while the other tenant is silent.
func rates(ctx context.Context, o options, dir string, out io.Writer) error {
	if err := ratesOn(ctx, o, filepath.Join(dir, "embedded"), "embedded", 1, out); err != nil || !o.full {
		return err
	}
	return ratesOn(ctx, o, filepath.Join(dir, "nodes"), "three nodes", 3, out)
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

// streets are servers with a tenant that sends too much, and one that does not.
type streets struct {
	nodes []*town
	loud  []*ociclient.Client // of each node
	quiet []quietKind
}

func startStreets(ctx context.Context, o options, dir string, n int) (*streets, error) {
	nodes, err := startNodes(ctx, o, dir, n, fmt.Sprintf("BERTH_TENANT_REQUESTS=%d", ownRate))
	if err != nil {
		return nil, err
	}
	s := &streets{nodes: nodes}
	loud, err1 := nodes[0].resident(ctx, "loud", "", "")
	quiet, err2 := nodes[0].resident(ctx, "quiet", "", "")
	if err := errors.Join(err1, err2); err != nil {
		return nil, errors.Join(err, stopNodes(nodes))
	}
	for _, t := range nodes {
		c := *loud
		c.Base = "http://" + t.Data
		s.loud = append(s.loud, &c)
	}
	s.quiet = quietKinds(quiet)
	for _, c := range []*ociclient.Client{loud, quiet} {
		err = errors.Join(err, (&pusher{client: c}).push(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, stopNodes(nodes))
	}
	return s, nil
}

// beside measures quiet calls while the loud tenant sends ten times what it may.
func (s *streets) beside(ctx context.Context, length time.Duration, on string, out io.Writer) ([]*latencies, error) {
	var sent, refused atomic.Int64
	stop, storm := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- storming(stop, s.loud, &sent, &refused) }()
	times, err := quietly(ctx, s.quiet, length)
	storm()
	if err = errors.Join(err, <-done); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "  %s: another tenant sent %d requests in %s, of which %d were refused\n", on, sent.Load(), length, refused.Load())
	if refused.Load() < sent.Load()/2 {
		return nil, fmt.Errorf("only %d of %d requests were refused", refused.Load(), sent.Load())
	}
	return times, nil
}

func ratesOn(ctx context.Context, o options, dir, on string, n int, out io.Writer) (err error) {
	s, err := startStreets(ctx, o, dir, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopNodes(s.nodes)) }()
	length, rounds, bound := 3*time.Second, 1, 10.0 // a short run has too few calls for a p99 that could be compared closely
	if o.full {
		length, rounds, bound = 30*time.Second, 3, 1.5
	}
	ratios := make([][]float64, len(s.quiet)) // of each kind: p99 beside to p99 alone
	for range rounds {
		alone, err := quietly(ctx, s.quiet, length)
		if err != nil {
			return err
		}
		beside, err := s.beside(ctx, length, on, out)
		if err != nil {
			return err
		}
		for i, k := range s.quiet {
			fmt.Fprintf(out, "  %s: %-5s alone  %s\n  %s: %-5s beside %s\n", on, k.name, alone[i], on, k.name, beside[i])
			ratios[i] = append(ratios[i], float64(beside[i].percentile(99))/float64(max(alone[i].percentile(99), time.Millisecond)))
		}
	}
	var verdicts []error
	for i, k := range s.quiet {
		slices.Sort(ratios[i])
		fmt.Fprintf(out, "  %s: %-5s p99 beside is %.2f times that alone\n", on, k.name, ratios[i][len(ratios[i])/2])
		if median := ratios[i][len(ratios[i])/2]; median > bound {
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
		if err := pause.For(ctx, time.Duration(worker)*time.Second/overRate); err != nil {
			return nil // ended before its turn came
		}
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
