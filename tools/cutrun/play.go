package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/tools/internal/port"
	"github.com/berth-registry/berth/tools/internal/server"
	"github.com/berth-registry/berth/tools/testserver"
)

const (
	nodes  = 3
	secret = "0123456789abcdef0123456789abcdef"

	// mostTries is how often a hopeless upstream is asked by one node (contract row T21).
	mostTries = 8
)

// play plays the scenario on new nodes, with a database, a bucket and a Redis of their own.
func (s scenario) play(ctx context.Context, berth string, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "cutrun")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := newContent(s.size+s.cut, s.size)
	if err != nil {
		return err
	}
	up, err := startUpstream(c, s.cut, s.pace)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, up.server.Close()) }()
	running, err := startNodes(ctx, berth, dir, up.url)
	defer func() {
		for _, n := range running {
			_ = n.Kill() // some are dead
		}
	}()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.pull(ctx, running, up, c); err != nil {
		for i, n := range running {
			err = fmt.Errorf("%w\nend of the log of node %d:\n%s", err, i, n.LogTail())
		}
		return err
	}
	return s.judge(up, time.Since(began), out)
}

// judge compares what the upstream sent with what was promised.
func (s scenario) judge(up *upstream, took time.Duration, out io.Writer) error {
	responses, average, twice, most := up.account()
	fmt.Fprintf(out, "  %d clients on %d nodes, %d MiB cut every %d bytes, in %s: the upstream sent %d parts, each byte %.4f times, %d bytes more than once, at most %d times\n",
		s.clients, nodes, s.size>>20, s.cut, took.Round(time.Millisecond), responses, average, twice, most)
	switch {
	case s.hopeless && responses > nodes*mostTries:
		return fmt.Errorf("it was asked %d times, more than %d", responses, nodes*mostTries)
	case !s.hopeless && average > s.most:
		return fmt.Errorf("each byte was sent %.4f times, more than %.2f", average, s.most)
	}
	return nil
}

// startNodes starts the nodes on a database, a bucket and a Redis of their own.
func startNodes(ctx context.Context, berth, dir, upstream string) ([]*server.Server, error) {
	database, err := testserver.NewPostgres(ctx)
	if err != nil {
		return nil, err
	}
	bucket, err := testserver.NewS3()
	if err != nil {
		return nil, err
	}
	redis, err := testserver.NewRedis()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "seed.yaml")
	if err := os.WriteFile(file, []byte(testserver.CacheSeed(upstream)), 0o600); err != nil {
		return nil, err
	}
	var running []*server.Server
	for i := range nodes {
		own := filepath.Join(dir, strconv.Itoa(i))
		internal, err := port.Free(1)
		if err = errors.Join(err, os.Mkdir(own, 0o700)); err != nil {
			return running, err
		}
		n, err := server.New(berth, own, "BERTH_META="+database, "BERTH_BLOBS="+bucket, "BERTH_REDIS="+redis, "BERTH_SEED="+file,
			"BERTH_UPSTREAM_ALLOW=127.0.0.0/8", "BERTH_INTERNAL_ADDR="+internal[0], "BERTH_INTERNAL_URL=http://"+internal[0],
			"BERTH_OPERATOR_TOKEN="+secret, "BERTH_INTERNAL_KEY="+secret, "BERTH_SECRET_KEY="+secret)
		if err == nil {
			err = n.Start(ctx)
		}
		if err != nil {
			return running, err
		}
		running = append(running, n)
	}
	return running, nil
}

// pull has all clients pull. Those of a node that is killed need not succeed.
func (s scenario) pull(ctx context.Context, running []*server.Server, up *upstream, c *content) error {
	http := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: s.clients, DisableCompression: true}}
	defer http.CloseIdleConnections()
	errs := make([]error, s.clients)
	var all sync.WaitGroup
	pull := func(i int) {
		all.Go(func() {
			if err := s.client(ctx, http, running[i%nodes].Data, c, i); err != nil {
				errs[i] = fmt.Errorf("client %d: %w", i, err)
			}
		})
	}
	pull(0)
	// The first node asks the upstream before others do.
	err := await.Within(ctx, time.Minute, "the upstream is asked", func() bool { return up.soFar() > 0 })
	for i := 1; i < s.clients; i++ {
		pull(i)
	}
	if err == nil && s.kill {
		err = await.Within(ctx, time.Minute, "half of the blob is there", func() bool { return up.soFar() > s.size/2 })
		err = errors.Join(err, running[0].Process().Kill())
	}
	all.Wait()
	failed := 0
	for i := range errs {
		if errs[i] != nil {
			failed++
		}
		if errs[i] != nil && s.kill && i%nodes == 0 {
			errs[i] = nil // of the node that was killed
		}
	}
	switch {
	case s.hopeless && failed == s.clients:
		return err
	case s.hopeless:
		return errors.Join(err, fmt.Errorf("%d of %d clients failed, want all", failed, s.clients))
	default:
		return errors.Join(err, errors.Join(errs...))
	}
}
