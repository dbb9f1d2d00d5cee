package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// images pushes and pulls images of one layer, tagged t1, t2 and so on.
type images struct {
	size    int
	clients int
	period  time.Duration
}

func (m images) repo() string { return fmt.Sprintf("bench/images-%d", m.size) }

func (m images) push(ctx context.Context, r *registry) (float64, error) {
	pushed := r.images(m.size)
	return repeat(m.period, m.clients, func() error { return m.pushOne(ctx, r.Client, pushed.Add(1)) })
}

func (m images) pull(ctx context.Context, r *registry) (float64, error) {
	there := r.images(m.size).Load()
	var next atomic.Int64
	return repeat(m.period, m.clients, func() error { return m.pullOne(ctx, r.Client, 1+next.Add(1)%there) })
}

func (m images) mixed(ctx context.Context, r *registry) (float64, error) {
	pushed := r.images(m.size)
	for range m.clients {
		if err := m.pushOne(ctx, r.Client, pushed.Add(1)); err != nil {
			return 0, err
		}
	}
	there := pushed.Load()
	var turn atomic.Int64
	return repeat(m.period, m.clients, func() error {
		n := turn.Add(1)
		if n%2 == 0 {
			return m.pushOne(ctx, r.Client, pushed.Add(1))
		}
		return m.pullOne(ctx, r.Client, 1+n%there)
	})
}

func (m images) pushOne(ctx context.Context, c *ociclient.Client, n int64) error {
	return pushImage(ctx, c, m.repo(), fmt.Sprintf("t%d", n), m.size)
}

func (m images) pullOne(ctx context.Context, c *ociclient.Client, n int64) error {
	manifest, ok, err := c.Manifest(ctx, m.repo(), fmt.Sprintf("t%d", n))
	if err != nil || !ok {
		return errors.Join(err, fmt.Errorf("image %d is there: %v", n, ok))
	}
	for _, digest := range digestsIn(manifest) {
		if _, ok, err := c.Blob(ctx, m.repo(), digest); err != nil || !ok {
			return errors.Join(err, fmt.Errorf("blob %s is there: %v", digest, ok))
		}
	}
	return nil
}

// pushImage pushes a config, a layer and their manifest, as clients do: HEAD,
// POST, PATCH, PUT.
func pushImage(ctx context.Context, c *ociclient.Client, repo, tag string, size int) error {
	mark := serial.Add(1)
	bytes := make([]byte, size)
	for i := 0; i+8 <= size; i += 512 {
		binary.LittleEndian.PutUint64(bytes[i:], mark)
	}
	config, layer := ocitest.ConfigBy(strconv.FormatUint(mark, 10)), ocitest.Layer(bytes)
	for _, b := range []ocitest.Content{config, layer} {
		if err := pushBlob(ctx, c, repo, b); err != nil {
			return err
		}
	}
	return c.PutManifest(ctx, repo, tag, ocitest.Manifest(config, layer).Bytes)
}

func pushBlob(ctx context.Context, c *ociclient.Client, repo string, b ocitest.Content) error {
	has, err := c.HasBlob(ctx, repo, b.Digest.String())
	if err != nil || has {
		return err
	}
	location, err := c.Open(ctx, repo)
	if err != nil {
		return err
	}
	location, err = c.Patch(ctx, location, 0, b.Bytes)
	if err != nil {
		return err
	}
	return c.Close(ctx, location, b.Digest.String(), nil)
}

// digestsIn are the digests that a manifest of this tool names.
func digestsIn(manifest []byte) []string {
	return digestPattern.FindAllString(string(manifest), -1)
}

var digestPattern = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
