package workload

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-registry/berth/tools/internal/ledger"
)

// Verified is what Verify has looked at.
type Verified struct {
	Tags, Manifests, Blobs int   // registers
	Bytes                  int64 // of blobs, each digest once: what the quota must say
}

func (v Verified) String() string {
	return fmt.Sprintf("%d tags, %d manifests and %d blobs are as the ledger says", v.Tags, v.Manifests, v.Blobs)
}

// Verify reads everything back and compares it with the ledger. Call it when no
// client works any more. Nothing in a run deletes blobs, and grace is longer than
// a run, so an acknowledged blob stays even if nothing names it.
func (c *Client) Verify(ctx context.Context) (Verified, error) {
	var v Verified
	var wrong []error
	there := map[string]bool{}
	for _, r := range c.ledger.Registers() {
		var err error
		switch r.Kind {
		case ledger.TagKind:
			v.Tags++
			err = c.pull(ctx, r)
		case ledger.ManifestKind:
			v.Manifests++
			_, err = c.read(ctx, r)
		default:
			v.Blobs++
			var digest string
			if digest, err = c.read(ctx, r); !there[digest] {
				there[digest] = true
				v.Bytes += c.sizes[digest]
			}
		}
		wrong = append(wrong, err)
	}
	return v, errors.Join(wrong...)
}

// read reads a register and holds what it reads against the ledger.
func (c *Client) read(ctx context.Context, r ledger.Register) (string, error) {
	return c.ledger.Verify(r, func(r ledger.Register) (string, error) { return r.Read(ctx, c.oci) })
}
