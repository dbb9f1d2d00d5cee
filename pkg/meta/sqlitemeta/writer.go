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
)

// A group is committed when nobody else waits, or when it reaches one of these
// bounds: a commit is one fsync, and everybody in the group waits for it.
const (
	maxGroup     = 256
	maxGroupTime = 20 * time.Millisecond
)

var errClosed = errors.New("sqlitemeta: the store is closed")

// errAlreadyDone ends a member whose operation an earlier attempt committed.
// Store.write rolls the member back and answers success.
var errAlreadyDone = errors.New("sqlitemeta: already done")

// writer runs all writing transactions on one connection, in groups that share
// one BEGIN IMMEDIATE and one COMMIT.
type writer struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // by their text; used by the one goroutine only
	now   func() time.Time

	queue chan *job
	quit  chan struct{} // closed to stop
	ended chan struct{} // closed when the goroutine has ended
}

// job is one member of a group.
type job struct {
	run     func(*tx) error
	claimed atomic.Bool // by the writer that runs it, or by a caller that gave up
	err     error
	done    chan struct{}
}

func startWriter(ctx context.Context, db *sql.DB, now func() time.Time) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{
		db: db, conn: conn, stmts: map[string]*sql.Stmt{}, now: now,
		queue: make(chan *job, maxGroup), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	go w.loop()
	return w, nil
}

func (w *writer) close() error {
	close(w.quit)
	<-w.ended
	return errors.Join(w.conn.Close(), w.db.Close())
}

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
	began := time.Now()
	err := s.transact(ctx, fn)
	s.observed("write", began, err)
	return err
}

func (s *Store) observed(kind string, began time.Time, err error) {
	if s.opts.Observe != nil {
		s.opts.Observe(kind, time.Since(began), err)
	}
}

// Waiting is how many transactions wait for the writer now.
func (s *Store) Waiting() int { return len(s.writer.queue) }

func (s *Store) transact(ctx context.Context, fn func(*tx) error) error {
	if s.writer == nil {
		return fault.New(fault.Internal, fault.InternalReason, "the metadata store was opened to be read only")
	}
	j := &job{run: fn, done: make(chan struct{})}
	select {
	case s.writer.queue <- j:
	case <-ctx.Done():
		return fault.From(ctx.Err())
	case <-s.writer.quit:
		return fault.Down(errClosed, "the metadata store")
	}
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
	if errors.Is(j.err, errAlreadyDone) {
		return nil
	}
	return translate(j.err)
}

func (w *writer) loop() {
	defer close(w.ended)
	for {
		select {
		case <-w.quit:
			return
		case first := <-w.queue:
			w.group(first)
		}
	}
}

// group runs first and what is queued behind it, commits once, and only then
// answers everybody.
func (w *writer) group(first *job) {
	t := &tx{w: w}
	var members []*job
	err := t.control("BEGIN IMMEDIATE")
	if err == nil {
		t.now = w.now().UnixMicro()
		members, err = w.members(t, first)
	} else if first.claimed.CompareAndSwap(false, true) {
		members = []*job{first}
	}
	if err == nil {
		err = t.control("COMMIT")
	}
	if err != nil {
		// SQLite may have rolled back by itself; then this fails and says so.
		_ = t.control("ROLLBACK")
		err = fault.Down(err, "the metadata store") // whatever each member met: none of it happened
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
		if j.claimed.CompareAndSwap(false, true) {
			ran = append(ran, j)
			if err := t.member(j); err != nil {
				return ran, err
			}
		}
		if len(ran) >= maxGroup || time.Since(began) > maxGroupTime {
			return ran, nil
		}
		select {
		case j = <-w.queue:
		default:
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
