package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/await"
)

const webhooks = "/v1/tenants/default/webhooks"

// asWebhooks makes each form the URL of a webhook, if the API takes it, and waits until all
// of them should have been told of an event (E17).
func (a *attempt) asWebhooks(ctx context.Context) error {
	urls := []string{"https://outside.test"}
	for i := range 20 {
		urls = append(urls, fmt.Sprintf("https://%s/%d", strings.TrimSuffix(rebound, "."), i)) // taken where it leads outside just now
	}
	for _, f := range forms() {
		urls = append(urls, f.url())
	}
	var made []string
	for i, url := range urls {
		body := fmt.Sprintf(`{"url": %q, "secret": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "events": ["upstream.create"]}`, url)
		status, answer, err := a.send(ctx, http.MethodPost, fmt.Sprintf("http://%s%s?webhook_id=w%d", a.server.Admin, webhooks, i), body, token)
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			made = append(made, fmt.Sprintf("%s/w%d", webhooks, i))
		case status != http.StatusBadRequest:
			return fmt.Errorf("a webhook at %q is answered %d: %s", url, status, answer)
		case i == 0:
			return fmt.Errorf("a public webhook is refused: %s", answer)
		}
	}
	if ok, err := a.upstream(ctx, "https://outside.test"); err != nil || !ok { // the event
		return fmt.Errorf("a public upstream is refused: %w", err)
	}
	for _, at := range made {
		if err := a.attempted(ctx, at); err != nil {
			return err
		}
	}
	taken, err := a.settled(ctx, "webhooks")
	if err != nil {
		return err
	}
	if taken[netip.MustParseAddr(outside)] == 0 {
		return fmt.Errorf("the sink counted no webhook at %s: it proves nothing", outside)
	}
	fmt.Fprintf(a.out, "ok ssrfrun: %d addresses of webhooks, %d not even taken: no connection into a network that is not public\n", len(urls), len(urls)-len(made))
	return nil
}

// attempted waits until the webhook was tried. Its log must not tell where it leads.
func (a *attempt) attempted(ctx context.Context, at string) error {
	var failure string
	var failed error
	err := await.Within(ctx, time.Minute, at+" to be tried", func() bool {
		var log struct {
			Deliveries []struct {
				Attempts int
				Failure  string
			}
		}
		failed = a.server.Call(ctx, token, http.MethodGet, at+"/deliveries", "", &log)
		if failed != nil {
			return true
		}
		tried := len(log.Deliveries) > 0 && log.Deliveries[0].Attempts > 0
		if tried {
			failure = log.Deliveries[0].Failure
		}
		return tried
	})
	if err == nil && failed == nil && !strings.HasPrefix(failure, "no answer") {
		err = fmt.Errorf("%s tells %q", at, failure)
	}
	if failed != nil {
		return failed
	}
	return err
}
