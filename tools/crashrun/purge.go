package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ledger"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// purgeDigest purges a layer of images in two repositories, of one in the trash, and of an
// index. A purge that was begun when the victim dies is ended by the next request, or by
// the janitor before that.
func purgeDigest(ctx context.Context, c *client) (act, error) {
	repo, other, secret := c.repo(), c.repo(), c.small()
	if _, err := c.pushImage(ctx, repo, "stays"); err != nil {
		return nil, err
	}
	var gone []ledger.Register
	for _, at := range []struct{ repo, tag string }{{repo, "v1"}, {other, "v1"}, {other, "deleted"}} {
		img, err := c.pushImage(ctx, at.repo, at.tag, secret)
		if err != nil {
			return nil, err
		}
		for _, b := range img.Blobs() {
			gone = append(gone, ledger.Blob(at.repo, b.Digest))
		}
		if at.tag == "deleted" {
			if err := c.removeImage(ctx, at.repo, at.tag, img); err != nil {
				return nil, err
			}
			continue
		}
		gone = append(gone, ledger.Manifest(at.repo, img.Manifest.Digest), ledger.Tag(at.repo, at.tag))
		index := newIndex(c.name("index"), img)
		c.names[index.Digest.String()] = []ledger.Register{ledger.Manifest("", img.Manifest.Digest)}
		if err := c.put(ctx, at.repo, "all", index, (*ociclient.Client).PutIndex); err != nil {
			return nil, err
		}
		gone = append(gone, ledger.Manifest(at.repo, index.Digest), ledger.Tag(at.repo, "all"))
	}
	return func(ctx context.Context) error { return c.purge(ctx, secret, gone) }, nil
}

// purge purges a blob, with all that goes with it. What of that is gone when the victim
// dies is open; after the answer nothing is left, and after the janitor no bytes are.
func (c *client) purge(ctx context.Context, b ocitest.Content, gone []ledger.Register) error {
	var entries []*ledger.Write
	for _, r := range gone {
		entries = append(entries, c.ledger.Begin(r, ""))
		c.touch(r)
	}
	state, err := c.requestPurge(ctx, c.oci, b.Digest, false)
	if ociclient.IsLost(err) {
		if err := c.goOn(ctx, err); err != nil {
			return err
		}
		if c.rng.IntN(2) == 0 {
			if err := c.endPurge(ctx, b.Digest); err != nil {
				return err
			}
		}
		err = c.try(ctx, func(oci *ociclient.Client) error {
			var err error
			state, err = c.requestPurge(ctx, oci, b.Digest, false)
			return err
		})
	}
	if err != nil {
		return err
	}
	if state != "DELETING" && state != "GONE" {
		return fmt.Errorf("%s is purged, and %s", b.Digest, state)
	}
	for i, r := range gone {
		c.ledger.Acknowledge(entries[i])
		c.current[r] = ""
	}
	if err := c.clearAway(ctx); err != nil {
		return err
	}
	return c.blind(func() error { return c.wantPurge(ctx, b.Digest, "GONE") })
}

// endPurge has the janitor end a purge that a killed victim began, if it did.
func (c *client) endPurge(ctx context.Context, d oci.Digest) error {
	if err := c.collect(ctx); err != nil {
		return err
	}
	return c.blind(func() error { return c.wantPurge(ctx, d, "PRESENT", "GONE") })
}

// wantPurge looks what there is of a digest.
func (c *client) wantPurge(ctx context.Context, d oci.Digest, want ...string) error {
	var state string
	err := c.try(ctx, func(oci *ociclient.Client) error {
		var err error
		state, err = c.requestPurge(ctx, oci, d, true)
		return err
	})
	if err == nil && !slices.Contains(want, state) {
		err = fmt.Errorf("after the janitor, the purge of %s is %s, want %v", d, state, want)
	}
	return err
}

// requestPurge returns the state of a purge.
func (c *client) requestPurge(ctx context.Context, of *ociclient.Client, d oci.Digest, validate bool) (string, error) {
	admin := c.admin(of)
	tenant, _, _ := strings.Cut(admin.Base, "/registries/")
	body := fmt.Appendf(nil, `{"digest": %q, "force": true, "validate_only": %t}`, d, validate)
	answer, err := admin.Do(ctx, http.MethodPost, tenant+":purge", body, http.Header{"Content-Type": {"application/json"}}, http.StatusOK)
	if err != nil {
		return "", err
	}
	var said struct{ State string }
	err = json.Unmarshal(answer.Body, &said)
	return said.State, err
}
