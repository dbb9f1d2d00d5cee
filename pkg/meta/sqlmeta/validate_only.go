package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// dryRun is a transaction that is taken back.
type dryRun struct{ Tx }

// remove runs fn as one transaction, which is a deletion, and takes it back where it is only
// to be validated.
func (s *Records) remove(ctx context.Context, by meta.Cause, owner tenant.ID, fn func(Tx) error) error {
	return s.engine.Write(ctx, owner, func(t Tx) error {
		if !by.ValidateOnly {
			return fn(t)
		}
		if err := fn(dryRun{t}); err != nil {
			return err
		}
		return ErrAlreadyDone
	})
}
