package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/internal/ledger"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// client is the one client of a deployment. It does operations to their end,
// however often the node it asks dies, and writes down what was acknowledged.
type client struct {
	deployment
	*watch
	*books
	rng    *rand.Rand
	oci    *ociclient.Client // who it asks at the moment
	serial int

	survived bool                       // the last kill is over
	second   step                       // where to kill once more, if the victim continues
	pair     map[ledger.Register]string // registers that change in one step, and what they hold then
}

// maxTries bounds the tries of one request. A kill costs one; a refusal that
// says "later" may come while the database still ends what a killed node began.
const maxTries = 8

// try asks until there is an answer. The function must be one that may be
// repeated.
func (c *client) try(ctx context.Context, ask func(*ociclient.Client) error) error {
	for tries := 1; ; tries++ {
		err := ask(c.oci)
		if !ociclient.IsLost(err) {
			return err
		}
		if tries == maxTries {
			return fmt.Errorf("%d times in a row: %w", tries, err)
		}
		if err := c.goOn(ctx, err); err != nil {
			return err
		}
	}
}

// goOn is what to do about an answer that got lost: the victim died, or it said
// that it cannot answer now.
func (c *client) goOn(ctx context.Context, cause error) error {
	if c.oci == c.victim() && c.killed() && !c.survived {
		c.survived = true
		oci, err := c.survive(ctx, c.rng.IntN(2) == 0, c.rng.IntN(2) == 0)
		if err != nil {
			return fmt.Errorf("after the kill: %w", err)
		}
		c.oci = oci
		if err := c.look(ctx); err != nil {
			return err
		}
		if c.oci == c.victim() && c.second != (step{}) {
			c.rearm(c.second)
			c.survived, c.second = false, step{}
		}
		return nil
	}
	if ociclient.StatusOf(cause) == http.StatusServiceUnavailable {
		c.refusals++
		return pause.For(ctx, 100*time.Millisecond) // as Retry-After asks, only sooner
	}
	return fmt.Errorf("nothing was killed, and yet there was %w", cause)
}

// together says that a request changes registers in one step.
func (c *client) together(registers map[ledger.Register]string, request func() error) error {
	c.pair = registers
	defer func() { c.pair = nil }()
	return request()
}

// write does a request that changes a register of the ledger.
func (c *client) write(ctx context.Context, r ledger.Register, value string, ask func(*ociclient.Client) error) error {
	c.touch(r)
	return c.ledger.Write(r, value, func() error { return c.try(ctx, ask) })
}

// name makes a name that nothing else has.
func (c *client) name(kind string) string {
	c.serial++
	return fmt.Sprintf("%s-%d", kind, c.serial)
}

func (c *client) repo() string { return c.name("crash/repo") }

func (c *client) noise(size int) ocitest.Content {
	return ocitest.Layer(ocitest.Noise(size, c.rng.Uint64()))
}

// small is content of a size that fits into one write.
func (c *client) small() ocitest.Content { return c.noise(2 + c.rng.IntN(8<<10)) }
