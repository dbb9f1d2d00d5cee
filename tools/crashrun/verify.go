package main

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/berth-registry/berth/tools/internal/ledger"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// sample is how many registers of earlier runs each run reads again.
const sample = 3

// look reads what this run has written so far, between a kill and the client's
// next try: all of a request has happened or nothing.
func (c *client) look(ctx context.Context) error {
	for _, r := range ledger.Sorted(maps.Keys(c.touched)) {
		if err := c.verify(ctx, r); err != nil {
			return fmt.Errorf("right after the kill: %w", err)
		}
	}
	var done, undone []ledger.Register
	for _, r := range ledger.Sorted(maps.Keys(c.pair)) {
		value, err := c.read(ctx, r)
		if err != nil {
			return err
		}
		if value == c.pair[r] {
			done = append(done, r)
		} else {
			undone = append(undone, r)
		}
	}
	if len(done) > 0 && len(undone) > 0 {
		return fmt.Errorf("half of a request has happened: %v, and not %v", done, undone)
	}
	return nil
}

// read reads a register, however often that takes.
func (c *client) read(ctx context.Context, r ledger.Register) (string, error) {
	var value string
	err := c.try(ctx, func(oci *ociclient.Client) error {
		var err error
		value, err = r.Read(ctx, oci)
		return err
	})
	return value, err
}

// verify reads a register and compares it with the ledger. What a manifest that
// is there names must be there too, whatever else became of it (invariants I2,
// I5, I6).
func (c *client) verify(ctx context.Context, r ledger.Register) error {
	value, err := c.ledger.Verify(r, func(r ledger.Register) (string, error) { return c.read(ctx, r) })
	if err != nil {
		return err
	}
	for _, named := range c.named(r.Repo, value) {
		if got, err := c.read(ctx, named); err != nil || got != named.Reference {
			return errors.Join(err, fmt.Errorf("%s is there and names %s, which reads as %q", r, named, got))
		}
	}
	return nil
}

// audit compares everything that this run has touched, and a sample of the
// rest, with the books, through the victim, which runs again.
func (c *client) audit(ctx context.Context) error {
	c.oci = c.victim()
	registers := ledger.Sorted(maps.Keys(c.touched))
	if all := c.ledger.Registers(); len(all) > 0 {
		for range sample {
			registers = append(registers, all[c.rng.IntN(len(all))])
		}
	}
	return errors.Join(c.verifyAll(ctx, registers), c.verifyQuota(ctx))
}

func (c *client) verifyAll(ctx context.Context, registers []ledger.Register) error {
	var wrong []error
	for _, r := range registers {
		wrong = append(wrong, c.verify(ctx, r))
	}
	return errors.Join(wrong...)
}

// verifyQuota is invariant I7: exact, not only bounded.
func (c *client) verifyQuota(ctx context.Context) error {
	var usage struct {
		Used int64 `json:"used_bytes,string"`
	}
	if err := c.ask(ctx, "usage", &usage); err != nil {
		return err
	}
	if want := c.total(); usage.Used != want {
		return fmt.Errorf("the tenant is charged for %d bytes, and %d blobs have %d", usage.Used, len(c.charged), want)
	}
	return nil
}
