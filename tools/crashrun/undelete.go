package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"

	"github.com/berth-registry/berth/tools/internal/ledger"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// undeleteManifest restores a manifest with its tag, in one step.
func undeleteManifest(ctx context.Context, c *client) (act, error) {
	repo := c.repo()
	img, err := c.pushImage(ctx, repo, "v1")
	if err != nil {
		return nil, err
	}
	digest := img.Manifest.Digest.String()
	restored := map[ledger.Register]string{ledger.Tag(repo, "v1"): digest, ledger.Manifest(repo, img.Manifest.Digest): digest}
	body := fmt.Appendf(nil, `{"digest": %q}`, digest)
	return func(ctx context.Context) error { return c.undelete(ctx, restored, repo+":undeleteManifest", body) }, c.removeImage(ctx, repo, "v1", img)
}

// undeleteRepository restores a repository, in one step.
func undeleteRepository(ctx context.Context, c *client) (act, error) {
	repo := c.repo()
	if _, err := c.pushImage(ctx, repo, "v1"); err != nil {
		return nil, err
	}
	restored := maps.Clone(c.current)
	maps.DeleteFunc(restored, func(r ledger.Register, _ string) bool { return r.Repo != repo })
	return func(ctx context.Context) error { return c.undelete(ctx, restored, repo+":undelete", []byte("{}")) }, c.removeRepository(ctx, repo)
}

// undelete requests that registers get their values back. Where an answer was lost, the
// next request may find that they have them.
func (c *client) undelete(ctx context.Context, restored map[ledger.Register]string, method string, body []byte) error {
	done := []int{http.StatusOK}
	return c.setTogether(ctx, restored, func(oci *ociclient.Client) error {
		admin := c.admin(oci)
		_, err := admin.Do(ctx, http.MethodPost, admin.Base+"/repositories/"+method, body, http.Header{"Content-Type": {"application/json"}}, done...)
		done = append(done, http.StatusNotFound, http.StatusConflict)
		return err
	})
}
