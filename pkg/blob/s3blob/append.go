package s3blob

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/internal/turns"
	"github.com/berth-registry/berth/pkg/fault"
)

const (
	// inFlight is how many parts of one Append are being sent at a time.
	inFlight = 4

	// maxParts is the most that S3 takes of one object.
	maxParts = 10_000

	// stepTimeout bounds a call of the journal of an Append whose caller may have
	// gone away.
	stepTimeout = 20 * time.Second
)

// appending is one Append at work: the caller's goroutine reads and hashes, one
// per piece sends it, and one records the pieces in order.
type appending struct {
	store *Store
	src   blob.Source
	stage blob.Stage
	turn  *turns.Turn

	journal  sync.Mutex // held while it is called
	keeper   blob.Journal
	recorded blob.Progress // the last step, without parts
	starting sync.Mutex    // held while the multipart upload is made
	upload   string        // its id

	reading atomic.Bool // the reading side may be waiting for the source
	flying  []*piece    // handed over and maybe not stored yet; of the reading side
	slots   chan struct{}
	pieces  chan *piece
	sending sync.WaitGroup
	work    context.Context // of the sending; outlives the caller's, ends when the Append failed
	stop    context.CancelCauseFunc
	ended   chan struct{} // closed when nothing more is recorded
	err     error         // of the recording side; read it after ended
}

// Append stores what src gives (see blob.Appender).
func (s *Store) Append(ctx context.Context, st blob.Stage, src blob.Source, j blob.Journal) error {
	turn, err := s.takeOver(ctx, st)
	if err != nil {
		return err
	}
	a := &appending{
		store: s, src: src, stage: st, turn: turn, keeper: j, upload: st.Multipart,
		slots:  make(chan struct{}, inFlight),
		pieces: make(chan *piece, inFlight),
		ended:  make(chan struct{}),
	}
	a.work, a.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	defer a.stop(nil)
	first, err := a.begin(ctx)
	if err != nil {
		turn.End()
		return err
	}
	a.reading.Store(true)
	go a.record()
	readErr := a.read(ctx, first)
	a.reading.Store(false)
	close(a.pieces)
	<-a.ended
	a.sending.Wait()
	switch {
	case a.err == nil:
		return readErr
	case readErr == nil, errors.Is(a.err, blob.ErrFenced):
		return a.err
	default:
		return errors.Join(readErr, a.err)
	}
}

// takeOver makes the caller the one writer of the object in this process. Those
// of other processes are fenced by the journal.
func (s *Store) takeOver(ctx context.Context, st blob.Stage) (*turns.Turn, error) {
	turn, err := s.writers.Take(ctx, st.Key, st.Epoch)
	if errors.Is(err, turns.ErrClosed) {
		err = down(err, "take an object over")
	}
	return turn, err
}

// begin makes sure that the session can continue, and reads the tail back, which
// the first piece begins with.
func (a *appending) begin(ctx context.Context) (*spool, error) {
	state, err := a.src.Mark()
	if err != nil {
		return nil, err
	}
	a.recorded = blob.Progress{Offset: a.stage.Offset, State: state, Tail: a.stage.Tail}
	if !isWhole(a.stage) {
		return nil, a.lost(ctx)
	}
	err = a.reopen(ctx)
	var first *spool
	if err == nil {
		first, err = a.store.tail(ctx, a.stage)
	}
	if errors.Is(err, blob.ErrMissing) {
		err = a.lost(ctx)
	}
	return first, err
}

// lost is the answer where staged bytes are not there. To a writer that no
// longer owns the session they may have been replaced since.
func (a *appending) lost(ctx context.Context) error {
	if err := a.step(ctx, a.recorded); err != nil {
		return err
	}
	return a.store.absent(ctx, "continue a staged object")
}

// read hands the source's bytes over, a part each, until it ends, and returns
// its error.
func (a *appending) read(ctx context.Context, sp *spool) error {
	p := &piece{spool: sp, offset: a.stage.Offset}
	number := len(a.stage.Parts)
	for {
		n, readErr, err := a.fill(ctx, p.spool)
		var state []byte
		if err == nil {
			state, err = a.src.Mark()
		}
		if err == nil && number == maxParts && p.spool.size > 0 {
			err = fault.New(fault.TooLarge, fault.SizeInvalid, "a blob can have at most %d bytes here", maxParts*a.store.partBytes)
		}
		if err != nil {
			p.spool.free()
			return errors.Join(readErr, err)
		}
		p.offset, p.state = p.offset+n, state
		switch {
		case p.spool.size == 0 && number > len(a.stage.Parts):
			return ended(readErr) // the last part's step was the last one
		case p.spool.size >= a.store.partBytes:
			number++
			p.number = number
		case n == 0 && p.offset == a.stage.Offset:
			p.tail = a.stage.Tail // nothing came
		case p.spool.size > 0:
			p.tail, p.staged = blob.Tail{Incarnation: uuid.New(), Size: p.spool.size}, true
		}
		next := &piece{offset: p.offset}
		if !a.hand(p) || readErr != nil {
			return ended(readErr)
		}
		next.spool = a.store.pool.spool(a.stage.Key.Tenant)
		p = next
	}
}

// ended is what the end of a source means for its Append.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// fill reads until the part is full, the source ends, ctx does or the recording
// side has. It returns how many bytes the source gave, the source's or ctx's
// error, and this package's own error, which makes the part useless.
func (a *appending) fill(ctx context.Context, sp *spool) (int64, error, error) {
	var n int64
	for sp.size < a.store.partBytes {
		select {
		case <-a.ended:
			return n, io.EOF, nil
		case <-ctx.Done():
			return n, context.Cause(ctx), nil
		default:
		}
		b, err := sp.space(a.store.partBytes-sp.size, a.busy)
		if err != nil {
			return n, nil, err
		}
		m, err := a.src.Read(b)
		n += int64(m)
		if kept := sp.keep(b[:m]); kept != nil {
			return n, nil, kept
		}
		if err != nil {
			return n, err, nil
		}
	}
	return n, nil, nil
}

// busy is closed when the oldest piece that is in flight has arrived; nil when
// there is none.
func (a *appending) busy() <-chan struct{} {
	for len(a.flying) > 0 {
		select {
		case <-a.flying[0].sent:
			a.flying = a.flying[1:]
		default:
			return a.flying[0].sent
		}
	}
	return nil
}

// hand gives a piece to be sent and recorded; false when nothing more is
// recorded.
func (a *appending) hand(p *piece) bool {
	select {
	case a.slots <- struct{}{}:
	case <-a.ended:
		p.spool.free()
		return false
	}
	p.sent = make(chan struct{})
	a.flying = append(a.flying, p)
	a.pieces <- p // there is room for as many as there are slots
	a.sending.Go(func() { a.send(p) })
	return true
}
