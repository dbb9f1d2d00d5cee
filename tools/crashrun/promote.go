package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ledger"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// promote takes an image with a referrer to another repository. How much of them is there
// when the victim dies is open, but the tag leads to all of it.
func promote(ctx context.Context, c *client) (act, error) {
	from, to := c.repo(), c.repo()
	image, err := c.pushImage(ctx, from, "v1")
	if err != nil {
		return nil, err
	}
	signature := newImage(c.name("signature"), about(image), c.small())
	if err := c.pushBlobs(ctx, from, signature); err != nil {
		return nil, err
	}
	if err := c.putManifest(ctx, from, "", signature); err != nil {
		return nil, err
	}
	digest := image.Manifest.Digest.String()
	c.names[digest] = append(c.names[digest], ledger.Manifest("", signature.Manifest.Digest))
	body := fmt.Appendf(nil, `{"tag": "v1", "to_repository": %q}`, to)
	return func(ctx context.Context) error {
		err := c.set(ctx, ledger.Tag(to, "v1"), digest, c.audited("manifest.promote", to+":v1@"+digest, func(oci *ociclient.Client) error {
			admin := c.admin(oci)
			_, err := admin.Do(ctx, http.MethodPost, admin.Base+"/repositories/"+from+":promote", body, http.Header{"Content-Type": {"application/json"}}, http.StatusOK)
			return err
		}))
		if err != nil {
			return err
		}
		for _, one := range []ocitest.Image{image, signature} {
			c.came(ledger.Manifest(to, one.Manifest.Digest))
			for _, b := range one.Blobs() {
				c.came(ledger.Blob(to, b.Digest))
			}
		}
		return nil
	}, nil
}

// came writes down that a register by digest came with an answer that is there.
func (c *client) came(r ledger.Register) {
	c.touch(r)
	c.ledger.Acknowledge(c.ledger.Begin(r, r.Reference))
	c.current[r] = r.Reference
}
