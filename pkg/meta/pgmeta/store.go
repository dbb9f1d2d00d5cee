package pgmeta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/pkg/tenant"
)

// How often a transaction is repeated, by why (protocol section 3).
const (
	maxContended = 3
	maxRestarts  = 20
	maxLost      = 3
)

// firstWait is about how long the first repetition waits for what was in the way.
const firstWait = 20 * time.Millisecond

// crowdedWait to two times that is how long a call waits before it asks again for
// a connection that the server, which answers others, had no room or time for.
const crowdedWait = 100 * time.Millisecond

// write runs fn as one transaction, on a connection of the tenant's share, and
// returns after it is durable. fn may run several times, each time in a
// transaction of its own: it sets its results, it never adds to them. When an
// earlier attempt was committed and its answer lost, tx.event ends the next one
// and write answers nil.
//
// A ctx that ends before an attempt has a connection ends the write; a running
// attempt continues, since ending it would cost a connection and say nothing of
// the outcome.
func (s *Store) write(ctx context.Context, owner tenant.ID, fn func(*tx) error) error {
	observe := s.observing("write")
	err := s.transact(ctx, owner, fn)
	observe(err)
	return err
}

func (s *Store) transact(ctx context.Context, owner tenant.ID, fn func(*tx) error) error {
	var waits, restarts, losses int
	for {
		crowded, err := s.attempt(ctx, owner, fn, losses > 0)
		switch {
		case err == nil && crowded:
			s.makeRoom(ctx, owner)
			return nil
		case err == nil, errors.Is(err, sqlmeta.ErrAlreadyDone), errors.Is(err, errUndo):
			return nil
		case errors.Is(err, sqlmeta.ErrRestart) && restarts < maxRestarts:
			restarts++
		case contended(err) && waits < maxContended:
			wait := firstWait << (2 * waits)
			if pause.Between(ctx, wait, 2*wait) != nil {
				return fault.From(ctx.Err())
			}
			waits++
		case errors.Is(err, errLost) && losses < maxLost:
			losses++
		default:
			return translate(err)
		}
	}
}

func (s *Store) attempt(ctx context.Context, owner tenant.ID, fn func(*tx) error, mayHaveCommitted bool) (bool, error) {
	var t *tx
	err := s.withConn(ctx, owner, mayHaveCommitted, func(ctx context.Context, c *pgx.Conn) error {
		t = &tx{ctx: ctx, conn: c, queued: &pgx.Batch{}, violations: map[string]error{}, mayHaveCommitted: mayHaveCommitted}
		return t.run(fn)
	})
	return err == nil && t.crowded, err
}

// withConn runs fn on a connection, for Options.Timeout at most. A connection
// that was lost comes back as errLost, unless time ran out with it.
func (s *Store) withConn(ctx context.Context, owner tenant.ID, proven bool, fn func(context.Context, *pgx.Conn) error) error {
	c, err := s.acquire(ctx, owner, proven)
	if err != nil {
		return err
	}
	defer c.release()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Timeout)
	defer cancel()
	err = fn(ctx, c.Conn)
	if !c.IsClosed() {
		s.answers.Add(1)
	}
	switch {
	case code(err) == readOnly:
		// The server was fenced while we were connected: another one is the
		// primary now, and new connections find it. Nothing was committed here.
		s.pool.Reset()
		return fmt.Errorf("%w: %w", errLost, err)
	case err == nil || !c.IsClosed():
		return err
	case ctx.Err() != nil:
		return down(err)
	default:
		return fmt.Errorf("%w: %w", errLost, err)
	}
}

// conn is a connection that counts as one of a tenant's.
type conn struct {
	*pgx.Conn
	pooled *pgxpool.Conn
	gate   *fairgate.Gate[tenant.ID]
	owner  tenant.ID
}

func (c conn) release() {
	c.pooled.Release()
	c.gate.Release(c.owner, 1)
}

// acquire waits for a share of the connections as enter does, and then for a
// connection, which a server that is well has at once; while the server answers
// others, it waits for up to busyTime. A proven one has just answered: where one
// connection was lost, the others may be dead too.
func (s *Store) acquire(ctx context.Context, owner tenant.ID, proven bool) (conn, error) {
	if err := s.enter(ctx, owner); err != nil {
		return conn{}, err
	}
	first := s.answers.Load()
	answers := first
	c, err := s.connect(ctx, proven)
	if s.occupied(err, first, answers) {
		waiting, cancel := context.WithTimeout(ctx, busyTime)
		defer cancel()
		for s.occupied(err, first, answers) && pause.Between(waiting, crowdedWait, 2*crowdedWait) == nil {
			answers = s.answers.Load()
			c, err = s.connect(ctx, proven)
		}
	}
	if err == nil {
		return conn{c.Conn(), c, s.connGate, owner}, nil
	}
	if s.occupied(err, first, answers) {
		err = busy(err)
	} else {
		// Neither a client that went away nor one connection too many is an outage.
		if ctx.Err() == nil && s.answers.Load() == answers {
			s.connGate.Expel(errDown{err})
		}
		err = down(err)
	}
	s.connGate.Release(owner, 1)
	return conn{}, err
}

// occupied says whether err is that the server, which answers others, had no room or no time
// for a connection since it had given so many answers: first when the call began, and then
// answers when it asked last.
func (s *Store) occupied(err error, first, answers int64) bool {
	return s.crowded(err, first) || s.slow(err, answers)
}

// connect waits for a connection for connectTime at most.
func (s *Store) connect(ctx context.Context, proven bool) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	for {
		c, err := s.pool.Acquire(ctx)
		if err != nil || !proven || c.Ping(ctx) == nil {
			return c, err
		}
		_ = c.Conn().Close(ctx) // the pool makes another
		c.Release()
	}
}

// crowded says whether err is that the server has no room for another connection,
// such as since other processes took it, while this store has some, or had when
// the server had given so many answers: one of these comes free.
func (s *Store) crowded(err error, answers int64) bool {
	if code(err) != tooManyConnections {
		return false
	}
	pool := s.pool.Stat()
	return pool.AcquiredConns()+pool.IdleConns() > 0 || s.answers.Load() != answers
}

// slow says whether err is that a connection was not there in time, while the
// server answered others: since it had given so many answers.
func (s *Store) slow(err error, answers int64) bool {
	return errors.Is(err, context.DeadlineExceeded) && s.answers.Load() != answers
}

// find scans the first row into dest; false without rows.
func (s *Store) find(ctx context.Context, owner tenant.ID, query string, args []any, dest ...any) (bool, error) {
	var found bool
	err := s.read(ctx, owner, func(ctx context.Context, c *pgx.Conn) error {
		return first(&found, dest...)(c.QueryRow(ctx, query, args...))
	})
	return found, err
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, s *Store, owner tenant.ID, read func(scan) (T, error), query string, args ...any) ([]T, error) {
	var out []T
	err := s.read(ctx, owner, func(ctx context.Context, c *pgx.Conn) error {
		out = []T{}
		rows, err := c.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		return each(func(scan scan) error {
			row, err := read(scan)
			out = append(out, row)
			return err
		})(rows)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// read runs a reading function, again on another connection when that one was
// lost.
func (s *Store) read(ctx context.Context, owner tenant.ID, fn func(context.Context, *pgx.Conn) error) error {
	observe := s.observing("read")
	for losses := 0; ; losses++ {
		err := s.withConn(ctx, owner, losses > 0, fn)
		if !errors.Is(err, errLost) || losses == maxLost {
			err = translate(err)
			observe(err)
			return err
		}
	}
}
