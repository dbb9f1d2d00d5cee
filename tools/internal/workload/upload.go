package workload

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// patience is how long a client continues with an upload whose answers get lost.
const patience = 40 * time.Second

// upload chooses one of the ways a blob can come.
func (c *Client) upload(ctx context.Context, repo string, b ocitest.Content) error {
	switch c.rng.IntN(4) {
	case 0:
		return c.oci.PostBlob(ctx, repo, b.Digest.String(), b.Bytes)
	case 1:
		mounted, location, err := c.oci.Mount(ctx, repo, b.Digest.String(), repoName(c.rng.IntN(repositories)))
		if err != nil || mounted {
			return err
		}
		return c.oci.Close(ctx, location, b.Digest.String(), b.Bytes)
	default:
		location, err := c.oci.Open(ctx, repo)
		if err != nil {
			return err
		}
		return c.resume(ctx, location, b)
	}
}

// resume sends a blob in chunks and continues after each lost answer from where
// the server says it is: a session survives the server (R2).
func (c *Client) resume(ctx context.Context, location string, b ocitest.Content) error {
	offset := 0
	deadline := time.Now().Add(patience)
	for resumed := false; ; resumed = true {
		err := c.send(ctx, &location, &offset, b)
		// A node that was only slow may still write what it was sent before.
		behind := resumed && ociclient.StatusOf(err) == http.StatusRequestedRangeNotSatisfiable
		if !ociclient.IsLost(err) && !behind || time.Now().After(deadline) {
			return err
		}
		held, next, err := c.locate(ctx, location, deadline)
		switch {
		case ociclient.StatusOf(err) == http.StatusNotFound:
			return c.ended(ctx, repoOf(location), b, err)
		case err != nil:
			return err
		case held < offset:
			return fmt.Errorf("the session forgot acknowledged bytes: it held %d, now %d", offset, held)
		}
		location, offset = next, held
	}
}

// locate asks where an upload is until there is an answer.
func (c *Client) locate(ctx context.Context, location string, deadline time.Time) (int, string, error) {
	for {
		c.pause(ctx)
		held, next, err := c.oci.Offset(ctx, location)
		if !ociclient.IsLost(err) || time.Now().After(deadline) {
			return held, next, err
		}
	}
}

// ended is for a session that is gone: a PUT whose answer is lost may have ended
// it.
func (c *Client) ended(ctx context.Context, repo string, b ocitest.Content, cause error) error {
	has, err := c.oci.HasBlob(ctx, repo, b.Digest.String())
	if err != nil || has {
		return err
	}
	return fmt.Errorf("the session is gone and the blob is not there: %w", cause)
}

func (c *Client) send(ctx context.Context, location *string, offset *int, b ocitest.Content) error {
	for len(b.Bytes)-*offset > 4 {
		n := 2 + c.rng.IntN(len(b.Bytes)-*offset-2)
		next, err := c.oci.Patch(ctx, *location, *offset, b.Bytes[*offset:*offset+n])
		if err != nil {
			return err
		}
		*location, *offset = next, *offset+n
		if c.rng.IntN(3) == 0 {
			break
		}
	}
	return c.oci.Close(ctx, *location, b.Digest.String(), b.Bytes[*offset:])
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
