package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/berth-registry/berth/tools/internal/server"
)

// runJanitor makes garbage of each kind, which a janitor removes then: a session
// that is never ended, a blob that no manifest names, a deleted image that shared a
// layer with one that stays, a blob that is left in one of two repositories, and
// a deleted repository.
func runJanitor(ctx context.Context, c *client) (act, error) {
	u := upload{client: c, bytes: c.small().Bytes}
	if err := u.open(ctx, c.repo()); err != nil {
		return nil, err
	}
	if err := u.sendTo(ctx, int64(len(u.bytes))); err != nil {
		return nil, err
	}
	if err := c.pushBlob(ctx, c.repo(), c.small()); err != nil {
		return nil, err
	}
	repo, shared := c.repo(), c.small()
	if _, err := c.pushImage(ctx, repo, "stays", shared); err != nil {
		return nil, err
	}
	if err := c.pushBlob(ctx, c.repo(), shared); err != nil {
		return nil, err
	}
	deleted, err := c.pushImage(ctx, repo, "goes", shared)
	if err != nil {
		return nil, err
	}
	if err := c.removeImage(ctx, repo, "goes", deleted); err != nil {
		return nil, err
	}
	repo = c.repo()
	if _, err := c.pushImage(ctx, repo, "v1", shared); err != nil {
		return nil, err
	}
	return c.clearAway, c.removeRepository(ctx, repo)
}

// clearAway has all garbage removed.
func (c *client) clearAway(ctx context.Context) error {
	if err := c.collect(ctx); err != nil {
		return err
	}
	return c.blind(func() error { return c.nothingElse(ctx) })
}

// collect runs the janitor. What of the garbage is gone when it dies is open; the next
// one finishes.
func (c *client) collect(ctx context.Context) error {
	garbage := c.garbage()
	var done []func()
	for _, r := range garbage {
		entry := c.ledger.Begin(r, "")
		c.touch(r)
		done = append(done, func() { c.ledger.Acknowledge(entry) })
	}
	if err := c.aside(ctx, func() error { return c.cleanTwice(ctx) }); err != nil {
		return err
	}
	for i, r := range garbage {
		done[i]()
		c.current[r] = ""
	}
	c.sweep()
	return nil
}

// cleanTwice runs the janitor to its end, another one if the first is killed.
func (c *client) cleanTwice(ctx context.Context) error {
	err := c.clean(ctx, 0)
	if !errors.Is(err, errKilled) {
		return err
	}
	c.survived = true
	if said, err := c.fsck(ctx, false); err != nil && !onlyAhead(said) {
		return fmt.Errorf("after the janitor was killed: %w\n%s", err, said)
	}
	return c.clean(ctx, 1)
}

// conclusion is the last line of fsck.
var conclusion = regexp.MustCompile(`(\d[\d,]*) objects, .* live, (\d[\d,]*) in the store: no problems found`)

// nothingElse says whether all that is left are the blobs that the tenant is
// charged for: no row of another object, and no other object.
func (c *client) nothingElse(ctx context.Context) error {
	said, err := c.fsck(ctx, false)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	found, want := conclusion.FindStringSubmatch(said), humanize.Comma(int64(len(c.charged)))
	if found == nil || found[1] != want || found[2] != want {
		return fmt.Errorf("%d blobs are left, and after the janitor fsck says: %s", len(c.charged), said)
	}
	return nil
}

// finding is a line of fsck.
var finding = regexp.MustCompile(`(?m)^I\d+ .*$`)

// onlyAhead says whether all that fsck finds are times that are too late: the
// janitor's clock was put forward, and fsck's was not.
func onlyAhead(said string) bool {
	found := finding.FindAllString(said, -1)
	return len(found) > 0 && !slices.ContainsFunc(found, func(line string) bool { return !strings.Contains(line, "later than any can be") })
}

// checkpoint pushes until SQLite has moved what is in its log into the database.
func checkpoint(_ context.Context, c *client) (act, error) {
	const most = 200 // pushes of some dozen pages each; the log is moved at 1,000
	repo := c.repo()
	return func(ctx context.Context) error {
		for range most {
			if err := c.pushBlob(ctx, repo, c.small()); err != nil || c.killed() || c.times("sync meta.db") > 0 {
				return err
			}
		}
		return fmt.Errorf("%d pushes, and no checkpoint", most)
	}, nil
}

// restart starts a victim that was killed before, or stopped.
func restart(ctx context.Context, c *client) (act, error) {
	if err := c.pushBlob(ctx, c.repo(), c.small()); err != nil {
		return nil, err
	}
	end := c.kill
	if c.rng.IntN(2) == 0 {
		end = c.stop
	}
	return func(ctx context.Context) error {
		err := c.revive(ctx)
		if errors.Is(err, server.ErrEnded) && c.killed() {
			c.survived = true
			err = c.revive(ctx)
		}
		return err
	}, end()
}
