package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/berth-registry/berth/pkg/oci"
)

// client pulls as an image client does: the manifest, then its blobs.
type client struct {
	base string
	http *http.Client
}

func newClient(addr string) client {
	return client{base: "http://" + addr, http: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
}

func (c client) pull(ctx context.Context, up *upstream, i int) error {
	im := up.images[i]
	for _, get := range []struct {
		path string
		want oci.Digest
	}{
		{"manifests/1", im.digest},
		{"blobs/" + im.configDigest.String(), im.configDigest},
		{"blobs/" + im.layer.String(), im.layer},
	} {
		if err := c.get(ctx, "/v2/"+im.name+"/"+get.path, get.want); err != nil {
			return fmt.Errorf("%s: %w", get.path, err)
		}
	}
	return nil
}

// get reads content, and compares its digest.
func (c client) get(ctx context.Context, path string, want oci.Digest) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return err
	}
	req.Host = "acme.localhost"
	req.Header.Set("Accept", manifestType)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	h := oci.NewHasher(oci.SHA256)
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	if _, err := io.Copy(h, resp.Body); err != nil {
		return err
	}
	if got := h.Digest(); got != want {
		return fmt.Errorf("got %s, want %s", got, want)
	}
	return nil
}
