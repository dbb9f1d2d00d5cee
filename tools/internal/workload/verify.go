package workload

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Verified is what Verify has looked at.
type Verified struct {
	Tags, Manifests, Blobs int   // registers
	Bytes                  int64 // of blobs, each digest once: what the quota must say
}

func (v Verified) String() string {
	return fmt.Sprintf("%d tags, %d manifests and %d blobs are as the ledger says", v.Tags, v.Manifests, v.Blobs)
}

// Verify reads everything back and compares it with the ledgers. Call it when no
// client works any more.
func (c *Client) Verify(ctx context.Context) (Verified, error) {
	v := Verified{Tags: len(c.byTag.Keys()), Manifests: len(c.byImage.Keys()), Blobs: len(c.pushed.Keys())}
	var wrong []error
	for _, key := range c.byTag.Keys() {
		repo, tag, _ := strings.Cut(key, ":")
		wrong = append(wrong, c.pull(ctx, repo, tag))
	}
	for _, key := range c.byImage.Keys() {
		wrong = append(wrong, c.verifyManifest(ctx, key))
	}
	there := map[string]bool{}
	for _, key := range c.pushed.Keys() {
		_, digest, _ := strings.Cut(key, "@")
		has, err := c.verifyBlob(ctx, key)
		wrong = append(wrong, err)
		if has && !there[digest] {
			there[digest] = true
			v.Bytes += c.sizes[digest]
		}
	}
	return v, errors.Join(wrong...)
}

func (c *Client) verifyManifest(ctx context.Context, key string) error {
	repo, digest, _ := strings.Cut(key, "@")
	start := time.Now()
	got, ok, err := c.oci.Manifest(ctx, repo, digest)
	if err != nil {
		return err
	}
	value := ""
	if ok {
		value = contentOf(got).digest
	}
	return c.byImage.Check(key, value, start, time.Now())
}

// verifyBlob reads a blob back. Nothing in a run deletes blobs, and grace is
// longer than a run, so an acknowledged blob stays even if nothing names it.
func (c *Client) verifyBlob(ctx context.Context, key string) (bool, error) {
	repo, digest, _ := strings.Cut(key, "@")
	start := time.Now()
	got, ok, err := c.oci.Blob(ctx, repo, digest)
	if err != nil {
		return false, fmt.Errorf("%s: %w", key, err)
	}
	value := ""
	if ok {
		value = contentOf(got).digest
	}
	return ok, c.pushed.Check(key, value, start, time.Now())
}
