package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// sample is how many registers of earlier runs each run reads again.
const sample = 3

// look reads what this run has written so far, between a kill and the client's
// next try: all of a request has happened or nothing.
func (c *client) look(ctx context.Context) error {
	for _, key := range slices.Sorted(maps.Keys(c.touched)) {
		if err := c.verify(ctx, key); err != nil {
			return fmt.Errorf("right after the kill: %w", err)
		}
	}
	var done, undone []string
	for _, key := range slices.Sorted(maps.Keys(c.pair)) {
		value, err := c.read(ctx, key)
		if err != nil {
			return err
		}
		if value == c.pair[key] {
			done = append(done, key)
		} else {
			undone = append(undone, key)
		}
	}
	if len(done) > 0 && len(undone) > 0 {
		return fmt.Errorf("half of a request has happened: %v, and not %v", done, undone)
	}
	return nil
}

// read reads a register: the digest of the bytes that it leads to.
func (c *client) read(ctx context.Context, key string) (string, error) {
	repo, kind, reference := split(key)
	var value string
	err := c.try(ctx, func(oci *ociclient.Client) error {
		get := oci.Manifest
		if kind == "/" {
			get = oci.Blob
		}
		got, ok, err := get(ctx, repo, reference)
		if value = ""; ok {
			value = digestOf(got)
		}
		return err
	})
	return value, err
}

// verify reads a register and compares it with the ledger. What a manifest that
// is there names must be there too, whatever else became of it (invariants I2,
// I5, I6).
func (c *client) verify(ctx context.Context, key string) error {
	start := time.Now()
	value, err := c.read(ctx, key)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	if err := c.ledger.Check(key, value, start, time.Now()); err != nil {
		return err
	}
	if value == "" {
		return nil
	}
	repo, _, _ := split(key)
	for _, name := range c.names[value] {
		_, _, want := split(repo + name)
		if got, err := c.read(ctx, repo+name); err != nil || got != want {
			return errors.Join(err, fmt.Errorf("%s is there and names %s, which reads as %q", key, repo+name, got))
		}
	}
	return nil
}

// audit compares everything that this run has touched, and a sample of the
// rest, with the books, through the victim, which runs again.
func (c *client) audit(ctx context.Context) error {
	c.oci = c.victim()
	keys := slices.Sorted(maps.Keys(c.touched))
	if all := c.ledger.Keys(); len(all) > 0 {
		for range sample {
			keys = append(keys, all[c.rng.IntN(len(all))])
		}
	}
	return errors.Join(c.verifyAll(ctx, keys), c.verifyQuota(ctx))
}

func (c *client) verifyAll(ctx context.Context, keys []string) error {
	var wrong []error
	for _, key := range keys {
		wrong = append(wrong, c.verify(ctx, key))
	}
	return errors.Join(wrong...)
}

// verifyQuota is invariant I7: exact, not only bounded.
func (c *client) verifyQuota(ctx context.Context) error {
	used, err := c.used(ctx)
	if err != nil {
		return err
	}
	if want := c.total(); used != want {
		return fmt.Errorf("the tenant is charged for %d bytes, and %d blobs have %d", used, len(c.charged), want)
	}
	return nil
}
