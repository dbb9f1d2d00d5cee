package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// mutation is what an event of the audit log says of a repository.
type mutation struct{ verb, target string }

// attempts are the requests for a change.
type attempts struct{ made, acknowledged int }

// audited counts the requests for a change: each that is acknowledged leaves one event, and
// one that was cut off leaves one or none.
func (c *client) audited(verb, target string, ask func(*ociclient.Client) error) func(*ociclient.Client) error {
	return func(oci *ociclient.Client) error {
		tried := c.changes[mutation{verb, target}]
		if tried == nil {
			tried = &attempts{}
			c.changes[mutation{verb, target}] = tried
		}
		tried.made++
		err := ask(oci)
		if err == nil {
			tried.acknowledged++
		}
		return err
	}
}

// verifyEvents compares the audit log with the requests (contract row C16).
func (c *client) verifyEvents(ctx context.Context) error {
	logged, err := c.logged(ctx)
	if err != nil {
		return err
	}
	var wrong []error
	for what, tried := range c.changes {
		if n := logged[what]; n < tried.acknowledged || n > tried.made {
			wrong = append(wrong, fmt.Errorf("%d events %s of %s, after %d requests, of which %d were acknowledged", n, what.verb, what.target, tried.made, tried.acknowledged))
		}
	}
	return errors.Join(wrong...)
}

// logged counts the events of the tenant's repositories.
func (c *client) logged(ctx context.Context) (map[mutation]int, error) {
	counts := map[mutation]int{}
	for token := ""; ; {
		var page struct {
			Events        []struct{ Verb, Target string }
			NextPageToken string `json:"next_page_token"`
		}
		if err := c.ask(ctx, "events?page_size=1000&page_token="+url.QueryEscape(token), &page); err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			counts[mutation{e.Verb, strings.TrimPrefix(e.Target, "registries/main/repositories/")}]++
		}
		if token = page.NextPageToken; token == "" {
			return counts, nil
		}
	}
}
