package audit

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Bounds of a request of a webhook.
const (
	webhookTimeout = 30 * time.Second
	connectTimeout = 5 * time.Second
	maxReply       = 64 << 10
	expectFrom     = 32 << 10 // bytes, from which the answer is waited for before they are sent
	expectTimeout  = time.Second
)

// webhook posts lines to a URL. Where that leads is the operator's choice, but it is
// followed no further: a redirect is an error.
type webhook struct {
	url, token string
	client     *http.Client
}

func newWebhook(at, token string, denied func(netip.Addr) bool) *webhook {
	dialer := &net.Dialer{Timeout: connectTimeout, ControlContext: refuse(denied)}
	return &webhook{at, token, &http.Client{
		Timeout:       webhookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: connectTimeout, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true, ExpectContinueTimeout: expectTimeout,
		},
	}}
}

// refuse keeps a name from leading to an address that is denied, or of a link.
func refuse(denied func(netip.Addr) bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || at.Addr().Unmap().IsLinkLocalUnicast() || denied(at.Addr()) {
			return fmt.Errorf("an audit sink is not at %s", address)
		}
		return nil
	}
}

// Write implements Sink. Only a status of 2xx says that the lines are kept.
func (h *webhook) Write(ctx context.Context, lines []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(lines))
	if err != nil {
		return hidden(err)
	}
	req.Header.Set("Content-Type", "application/jsonl")
	req.Header.Set("User-Agent", "berth")
	if len(lines) > expectFrom {
		req.Header.Set("Expect", "100-continue") // a server that closes the connection early would not be understood
	}
	if h.token != "" {
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return hidden(err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply)) // so that the connection is used again
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusRequestEntityTooLarge, http.StatusBadRequest, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: it answers %s", errRefused, resp.Status)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the audit sink answers %s", resp.Status)
	}
	return nil
}

// hidden is the error without the URL, which may hold a secret.
func hidden(err error) error {
	if of, ok := err.(*url.Error); ok { //nolint:errorlint // http.Client returns it as it is
		return of.Err
	}
	return err
}
