package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// verify reads everything back and compares it with the ledgers; it returns
// what it looked at, in words.
func (w *world) verify(ctx context.Context, oci *ociclient.Client) (string, error) {
	reader := &worker{world: w, oci: oci}
	var wrong []error
	for _, key := range w.byTag.Keys() {
		repo, tag, _ := strings.Cut(key, ":")
		wrong = append(wrong, reader.pull(ctx, repo, tag))
	}
	for _, key := range w.byImage.Keys() {
		wrong = append(wrong, w.verifyManifest(ctx, oci, key))
	}
	for _, key := range w.pushed.Keys() {
		wrong = append(wrong, w.verifyBlob(ctx, oci, key))
	}
	if err := errors.Join(wrong...); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d tags, %d manifests and %d blobs are as the ledger says",
		len(w.byTag.Keys()), len(w.byImage.Keys()), len(w.pushed.Keys())), nil
}

func (w *world) verifyManifest(ctx context.Context, oci *ociclient.Client, key string) error {
	repo, digest, _ := strings.Cut(key, "@")
	start := time.Now()
	got, ok, err := oci.Manifest(ctx, repo, digest)
	if err != nil {
		return err
	}
	value := ""
	if ok {
		value = contentOf(got).digest
	}
	return w.byImage.Check(key, value, start, time.Now())
}

// verifyBlob reads a blob back. Nothing in a run deletes blobs, and grace is
// longer than a run, so an acknowledged blob stays even if nothing names it.
func (w *world) verifyBlob(ctx context.Context, oci *ociclient.Client, key string) error {
	repo, digest, _ := strings.Cut(key, "@")
	start := time.Now()
	got, ok, err := oci.Blob(ctx, repo, digest)
	if err != nil {
		return err
	}
	value := ""
	if ok {
		value = contentOf(got).digest
	}
	return w.pushed.Check(key, value, start, time.Now())
}

// repoOf cuts the repository out of an upload's location.
func repoOf(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	repo, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/v2/"), "/blobs/uploads/")
	return repo
}
