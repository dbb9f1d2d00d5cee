package main

import (
	"context"
	"net/http"

	"github.com/berth-registry/berth/tools/internal/ledger"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// deleteReferrers deletes a subject in a registry where its referrers go with it, a
// step at a time, and theirs. What of them is gone when the victim dies is open;
// the janitor finishes it.
func deleteReferrers(ctx context.Context, c *client) (act, error) {
	err := c.try(ctx, func(oci *ociclient.Client) error {
		admin := c.admin(oci)
		_, err := admin.Do(ctx, http.MethodPatch, admin.Base, []byte(`{"delete_referrers": true}`), http.Header{"Content-Type": {"application/json"}}, http.StatusOK)
		return err
	})
	if err != nil {
		return nil, err
	}
	repo := c.repo()
	subject, err := c.pushImage(ctx, repo, "v1")
	if err != nil {
		return nil, err
	}
	var registers []ledger.Register
	of := subject
	for range 4 {
		referrer := newImage(c.name("referrer"), about(of), c.small())
		if err := c.pushBlobs(ctx, repo, referrer); err != nil {
			return nil, err
		}
		if err := c.putManifest(ctx, repo, "", referrer); err != nil {
			return nil, err
		}
		registers = append(registers, ledger.Manifest(repo, referrer.Manifest.Digest))
		if len(registers) == 3 {
			of = referrer // the next one refers to this one
		}
	}
	return func(ctx context.Context) error {
		var entries []*ledger.Write
		for _, r := range registers {
			entries = append(entries, c.ledger.Begin(r, ""))
			c.touch(r)
		}
		if err := c.removeImage(ctx, repo, "v1", subject); err != nil {
			return err
		}
		for _, r := range registers {
			c.current[r] = ""
		}
		if err := c.clearAway(ctx); err != nil {
			return err
		}
		for _, e := range entries {
			c.ledger.Acknowledge(e)
		}
		return nil
	}, nil
}
