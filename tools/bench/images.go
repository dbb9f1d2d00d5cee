package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// images pushes and pulls images of one layer.
type images struct {
	size    int
	clients int
	period  time.Duration

	pushed [2]atomic.Int64 // of the registries in turn, by slot
	bases  [2]string
}

// slot tells the two registries apart.
func (m *images) slot(c *ociclient.Client) int {
	for i, base := range m.bases {
		if base == c.Base {
			return i
		}
		if base == "" {
			m.bases[i] = c.Base
			return i
		}
	}
	return 0
}

func (m *images) repo() string { return fmt.Sprintf("bench/images-%d", m.size) }

func (m *images) pushNext(ctx context.Context, c *ociclient.Client, slot int) error {
	n := m.pushed[slot].Add(1)
	return pushImage(ctx, c, m.repo(), fmt.Sprintf("t%d", n), m.size)
}

func (m *images) push(ctx context.Context, c *ociclient.Client) (float64, error) {
	slot := m.slot(c)
	return repeat(m.period, m.clients, func() error { return m.pushNext(ctx, c, slot) })
}

func (m *images) pull(ctx context.Context, c *ociclient.Client) (float64, error) {
	slot := m.slot(c)
	var next atomic.Int64
	return repeat(m.period, m.clients, func() error {
		return m.pullOne(ctx, c, 1+next.Add(1)%m.pushed[slot].Load())
	})
}

func (m *images) mixed(ctx context.Context, c *ociclient.Client) (float64, error) {
	slot := m.slot(c)
	for range m.clients {
		if err := m.pushNext(ctx, c, slot); err != nil {
			return 0, err
		}
	}
	there := m.pushed[slot].Load()
	var turn atomic.Int64
	return repeat(m.period, m.clients, func() error {
		n := turn.Add(1)
		if n%2 == 0 {
			return m.pushNext(ctx, c, slot)
		}
		return m.pullOne(ctx, c, 1+n%there)
	})
}

func (m *images) pullOne(ctx context.Context, c *ociclient.Client, n int64) error {
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
	layer := make([]byte, size)
	for i := 0; i+8 <= size; i += 512 {
		binary.LittleEndian.PutUint64(layer[i:], mark)
	}
	config := fmt.Appendf(nil, `{"architecture": "amd64", "os": "linux", "author": "%d"}`, mark)
	for _, b := range [][]byte{config, layer} {
		if err := pushBlob(ctx, c, repo, b); err != nil {
			return err
		}
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		oci.MediaTypeImageManifest, digestOf(config), len(config), digestOf(layer), len(layer))
	return c.PutManifest(ctx, repo, tag, manifest)
}

func pushBlob(ctx context.Context, c *ociclient.Client, repo string, content []byte) error {
	digest := digestOf(content)
	has, err := c.HasBlob(ctx, repo, digest)
	if err != nil || has {
		return err
	}
	location, err := c.Open(ctx, repo)
	if err != nil {
		return err
	}
	location, err = c.Patch(ctx, location, 0, content)
	if err != nil {
		return err
	}
	return c.Close(ctx, location, digest, nil)
}

func digestOf(b []byte) string { return oci.DigestOf(oci.SHA256, b).String() }

// digestsIn are the digests that a manifest of ours names.
func digestsIn(manifest []byte) []string {
	return digestPattern.FindAllString(string(manifest), -1)
}

var digestPattern = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
