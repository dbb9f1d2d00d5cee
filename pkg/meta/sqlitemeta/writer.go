package sqlitemeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// A group is committed when no other write waits, or when it reaches one of these
// bounds: a commit is one fsync, and all in the group wait for it.
const (
	maxGroup     = 256
	maxGroupTime = 20 * time.Millisecond
)

// stuckAfter is how long the writer may be held, or waited for, before the store
// says that it cannot be written to. A step takes a hundredth of it.
const stuckAfter = 5 * time.Second

var errClosed = errors.New("sqlitemeta: the store is closed")

// writer runs all writing transactions on one connection, in groups that share
// one BEGIN IMMEDIATE and one COMMIT.
type writer struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // by their text; used by the one goroutine only
	now   func() time.Time
	txNow *atomic.Int64 // what berth_now answers: the time of the current group

	queue *lanes
	began atomic.Int64  // of the current group, in nanoseconds of its clock; 0 = none
	quit  chan struct{} // closed to stop
	ended chan struct{} // closed when the goroutine has ended
}

// job is one member of a group.
type job struct {
	run     func(*tx) error
	alone   bool        // it takes long: nothing else waits for its end
	since   time.Time   // it waits
	lane    *lane       // that it was queued in
	claimed atomic.Bool // by the writer that runs it, or by a caller that gave up
	err     error
	done    chan struct{}
}

func startWriter(ctx context.Context, db *sql.DB, now func() time.Time, txNow *atomic.Int64) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{
		db: db, conn: conn, stmts: map[string]*sql.Stmt{}, now: now, txNow: txNow,
		queue: newLanes(), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	go w.loop()
	return w, nil
}

func (w *writer) close() error {
	close(w.quit)
	<-w.ended
	return errors.Join(w.conn.Close(), w.db.Close())
}

// stuck is the error of a writer that makes no progress.
func (w *writer) stuck(bound time.Duration) error {
	if at := w.began.Load(); at != 0 {
		if held := time.Since(time.Unix(0, at)); held > bound {
			return fmt.Errorf("one transaction has held the writer for %s", held.Round(time.Millisecond))
		}
	}
	if since := w.queue.oldest(); !since.IsZero() {
		if waited := time.Since(since); waited > bound {
			return fmt.Errorf("a write has waited for %s", waited.Round(time.Millisecond))
		}
	}
	return nil
}

// stopping reports whether work in steps must end until the next start.
func (s *Store) stopping() bool { return s.writer.stopped() || s.quiet.Load() }

// Quiesce lets work in steps end at its next step: the process is about to stop.
func (s *Store) Quiesce() { s.quiet.Store(true) }

func (w *writer) stopped() bool {
	select {
	case <-w.quit:
		return true
	default:
		return false
	}
}

// write runs fn as one transaction and returns after it is durable. Any error
// of fn undoes what fn did, and nothing else. A ctx that ends before fn started
// takes it out of the queue; afterwards the true outcome is returned. When an
// earlier attempt of the same operation was committed (tx.event), fn is undone
// and the answer is nil: results that fn did not set must be read again.
func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	return s.writeFor(ctx, deployment, fn)
}

// writeFor is write in a tenant's share of the writer.
func (s *Store) writeFor(ctx context.Context, owner tenant.ID, fn func(*tx) error) error {
	return s.observedWrite(ctx, owner, &job{run: fn})
}

// step is writeFor for work that clients can make long: fn ends when tx.spent, and
// is committed alone, so that others wait for only one step.
func (s *Store) step(ctx context.Context, owner tenant.ID, fn func(*tx) error) error {
	return s.observedWrite(ctx, owner, &job{run: fn, alone: true})
}

func (s *Store) observedWrite(ctx context.Context, owner tenant.ID, j *job) error {
	began := time.Now()
	err := s.transact(ctx, owner, j)
	s.observed("write", began, err)
	return err
}

func (s *Store) observed(kind string, began time.Time, err error) {
	if s.opts.Observe != nil {
		s.opts.Observe(kind, time.Since(began), err)
	}
}

// Waiting is how many transactions wait for the writer now.
func (s *Store) Waiting() int { return s.writer.queue.len() }

func (s *Store) transact(ctx context.Context, owner tenant.ID, j *job) error {
	if s.writer == nil {
		return fault.New(fault.Internal, fault.InternalReason, "the metadata store was opened to be read only")
	}
	if s.writer.stopped() {
		return fault.Down(errClosed, "the metadata store")
	}
	if err := ctx.Err(); err != nil {
		return fault.From(err)
	}
	j.done, j.since = make(chan struct{}), time.Now()
	s.writer.queue.push(owner, j)
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.claimed.CompareAndSwap(false, true) {
			return fault.From(ctx.Err())
		}
		<-j.done
	case <-s.writer.ended:
		// The writer ends only between groups: the job is done or never ran.
		select {
		case <-j.done:
		default:
			return fault.Down(errClosed, "the metadata store")
		}
	}
	if errors.Is(j.err, sqlmeta.ErrAlreadyDone) {
		return nil
	}
	return translate(j.err)
}

func (w *writer) loop() {
	defer close(w.ended)
	rested := time.NewTimer(time.Hour)
	defer rested.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-w.queue.ready:
		case <-rested.C:
		}
		first, rest := w.queue.pop(anyJob)
		if first == nil {
			if rest > 0 {
				rested.Reset(rest)
			}
			continue
		}
		w.began.Store(time.Now().UnixNano())
		w.group(first)
		w.began.Store(0)
		w.queue.wakeWaiting()
	}
}

func anyJob(*job) bool { return true }

// fitsGroup keeps long jobs out of groups.
func fitsGroup(j *job) bool { return !j.alone }

// group runs first and the jobs queued behind it, commits once, and only then
// reports to all callers.
func (w *writer) group(first *job) {
	t := &tx{w: w}
	began := time.Now()
	var members []*job
	err := t.control("BEGIN IMMEDIATE")
	if err == nil {
		t.now = w.now().UnixMicro()
		w.txNow.Store(t.now)
		members, err = w.members(t, first)
	} else {
		members = []*job{first}
	}
	if err == nil {
		err = t.control("COMMIT")
	}
	if err != nil {
		// SQLite may have rolled back by itself; then this fails and says so.
		_ = t.control("ROLLBACK")
		err = groupFailed(err) // whatever each member met: none of it happened
	}
	if first.alone {
		w.queue.charge(first, time.Since(began))
	}
	for _, j := range members {
		if err != nil {
			j.err = err
		}
		close(j.done)
	}
}

// members runs jobs until the queue is empty or a bound is reached. Its error
// is one that undid the whole group.
func (w *writer) members(t *tx, first *job) ([]*job, error) {
	var ran []*job
	began := time.Now()
	for j := first; ; {
		ran = append(ran, j)
		t.began = time.Now()
		err := t.member(j)
		if !j.alone {
			w.queue.charge(j, time.Since(t.began))
		}
		if err != nil {
			return ran, err
		}
		if j.alone || len(ran) >= maxGroup || time.Since(began) > maxGroupTime {
			return ran, nil
		}
		if j, _ = w.queue.pop(fitsGroup); j == nil {
			return ran, nil
		}
	}
}

// member runs one job in a savepoint of its own: a failed statement alone would
// not undo the ones before it.
func (t *tx) member(j *job) error {
	if err := t.control("SAVEPOINT member"); err != nil {
		return err
	}
	if t.guarded(j); j.err != nil {
		// Some errors (disk full, I/O) end the whole transaction in SQLite; then
		// there is no savepoint left, and no member may be told of success.
		if err := t.control("ROLLBACK TO member"); err != nil {
			return errors.Join(err, j.err)
		}
	}
	return t.control("RELEASE member")
}

// guarded turns a panic of one member into its own error.
func (t *tx) guarded(j *job) {
	defer func() {
		if p := recover(); p != nil {
			j.err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	j.err = j.run(t)
}
