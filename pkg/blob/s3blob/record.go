package s3blob

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/pkg/blob"
)

// record records the pieces in order. When it cannot continue it interrupts the
// source, so that the reading side does not wait for a client whose bytes are no
// longer needed.
func (a *appending) record() {
	a.err = a.recordPieces()
	if a.err != nil {
		a.stop(a.err)
	}
	// What is still being sent does no harm: a part has the same bytes
	// each time, a tail has its own key.
	a.turn.End()
	if i, ok := a.src.(blob.Interrupter); ok && a.err != nil && a.reading.Load() {
		i.Interrupt()
	}
	close(a.ended)
}

func (a *appending) recordPieces() error {
	for {
		select {
		case <-a.turn.Fenced():
			return blob.ErrFenced
		case p, more := <-a.pieces:
			if !more {
				return nil
			}
			if err := a.recordPiece(p); err != nil {
				return err
			}
			<-a.slots
		}
	}
}

func (a *appending) recordPiece(p *piece) error {
	select {
	case <-a.turn.Fenced():
		return blob.ErrFenced
	case <-p.sent:
	}
	switch {
	case a.turn.IsFenced():
		return blob.ErrFenced
	case errors.Is(p.err, blob.ErrMissing):
		return a.lost(a.work)
	case p.err != nil:
		return p.err
	}
	progress := blob.Progress{Offset: p.offset, State: p.state, Tail: p.tail}
	a.recorded = progress
	if p.number > 0 {
		progress.Parts = []blob.Part{p.part}
	}
	return a.step(a.work, progress)
}

// step records progress.
func (a *appending) step(ctx context.Context, p blob.Progress) error {
	return a.ask(ctx, func(ctx context.Context) error { return a.keeper.Step(ctx, p) })
}

// ask calls the journal, one call at a time.
func (a *appending) ask(ctx context.Context, call func(context.Context) error) error {
	a.journal.Lock()
	defer a.journal.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	return call(ctx)
}
