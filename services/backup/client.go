package backup

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/berth-registry/berth/services/internal/adminclient"
)

// Client asks the server on this machine for backups.
type Client struct{ *adminclient.Client }

// empty is the body of a call that says all in its path.
var empty = struct{}{}

// Begin begins a backup and returns its id.
func (c *Client) Begin(ctx context.Context) (string, error) {
	var b struct{ Name string }
	if err := c.Call(ctx, http.MethodPost, "/v1/backups", empty, &b); err != nil {
		return "", err
	}
	id, ok := strings.CutPrefix(b.Name, "backups/")
	if !ok || strings.ContainsAny(id, `/\.`) {
		return "", fmt.Errorf("the server answers with no backup: %.100q", b.Name)
	}
	return id, nil
}

// KeepRenewing renews the backup until ctx ends, and returns why it could not be
// renewed any longer.
func (c *Client) KeepRenewing(ctx context.Context, id string) error {
	renewed := time.Now()
	tick := time.NewTicker(Lease / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := c.Call(ctx, http.MethodPost, "/v1/backups/"+id+":renew", empty, nil)
		var refused *adminclient.Refusal
		switch {
		case err == nil:
			renewed = time.Now()
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused) && refused.Status == http.StatusNotFound, time.Since(renewed) > Lease:
			return fmt.Errorf("the server no longer holds the backup; run it again, which continues from what was copied: %w", err)
		}
	}
}

// End ends the backup. One that has ended is not an error.
func (c *Client) End(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return c.Call(ctx, http.MethodDelete, "/v1/backups/"+id+"?allow_missing=true", nil, nil)
}

// CopyFile copies a file, durably, to one that does not exist and that only its
// owner may read.
func CopyFile(ctx context.Context, from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	_, _, err = write(ctx, to, 0o600, src)
	return errors.Join(err, src.Close())
}
