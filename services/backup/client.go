package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Client asks the admin API of the server on this machine.
type Client struct {
	base, token string
	http        http.Client
}

// NewClient is for the server whose admin API listens on addr, with TLS where there
// is a dialTLS.
func NewClient(addr, token string, dialTLS func(ctx context.Context, network, addr string) (net.Conn, error)) *Client {
	scheme := "http://"
	if dialTLS != nil {
		scheme = "https://"
	}
	return &Client{base: scheme + reachable(addr), token: token, http: http.Client{Transport: &http.Transport{DialTLSContext: dialTLS}}}
}

// reachable is an address that a server listens on, as one to connect to.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// Begin begins a backup and returns its id.
func (c *Client) Begin(ctx context.Context) (string, error) {
	var b struct{ Name string }
	if err := c.call(ctx, http.MethodPost, "/v1/backups", &b); err != nil {
		return "", err
	}
	id, ok := strings.CutPrefix(b.Name, "backups/")
	if !ok || strings.ContainsAny(id, `/\.`) {
		return "", fmt.Errorf("the server at %s answers with no backup: %.100q", c.base, b.Name)
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
		err := c.call(ctx, http.MethodPost, "/v1/backups/"+id+":renew", nil)
		var refused *refusal
		switch {
		case err == nil:
			renewed = time.Now()
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused) && refused.status == http.StatusNotFound, time.Since(renewed) > Lease:
			return fmt.Errorf("the server no longer holds the backup; run it again, which continues from what was copied: %w", err)
		}
	}
}

// End ends the backup. One that has ended is not an error.
func (c *Client) End(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return c.call(ctx, http.MethodDelete, "/v1/backups/"+id+"?allow_missing=true", nil)
}

// refusal is an answer with an error status.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return r.message }

const maxAnswer = 1 << 20 // bytes

func (c *Client) call(ctx context.Context, method, path string, into any) error {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		var status struct{ Message string }
		if json.Unmarshal(text, &status) != nil || status.Message == "" {
			status.Message = fmt.Sprintf("%.200s", text)
		}
		hint := ""
		if resp.StatusCode == http.StatusUnauthorized {
			hint = "; the server there may have another data_dir"
		}
		return &refusal{resp.StatusCode, fmt.Sprintf("the admin API at %s refuses: %s (%s)%s", c.base, status.Message, resp.Status, hint)}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
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
