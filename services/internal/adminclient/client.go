// Package adminclient asks the admin API of the server on this machine.
package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
)

// Client asks the admin API of the server on this machine.
type Client struct {
	base, token string
	http        http.Client
}

// New is for the server whose admin API listens on addr, with TLS where there
// is a dialTLS.
func New(addr, token string, dialTLS func(ctx context.Context, network, addr string) (net.Conn, error)) *Client {
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

// Refusal is an answer with an error status.
type Refusal struct {
	Status  int
	Message string
}

func (r *Refusal) Error() string { return r.Message }

const maxAnswer = 1 << 20 // bytes

// Call sends send, unless it is nil, and reads the answer into a pointer, unless that is nil. A
// refused call is a Refusal.
func (c *Client) Call(ctx context.Context, method, path string, send, into any) error {
	var body io.Reader
	if send != nil {
		text, err := json.Marshal(send)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
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
		return &Refusal{resp.StatusCode, fmt.Sprintf("the admin API at %s refuses: %s (%s)%s", c.base, status.Message, resp.Status, hint)}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}
