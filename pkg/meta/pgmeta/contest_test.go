package pgmeta

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// contest lets two actors meet in one database, each with a store of its own, and
// decides whose next statement the server gets.
type contest struct {
	t       testing.TB
	bell    chan struct{}
	stiles  [2]*turnstile
	stores  [2]*Store
	asks    *pgx.Conn // who waits for a lock
	blocked bool      // whether the last answer was that one does
}

func newContest(t testing.TB, url string) *contest {
	t.Helper()
	c := &contest{t: t, bell: make(chan struct{}, 1), asks: connect(t, url)}
	for i := range c.stiles {
		c.stiles[i] = &turnstile{bell: c.bell}
		c.stores[i] = open(t, Options{URL: url + "&lock_timeout=0&idle_in_transaction_session_timeout=0", Timeout: time.Minute})
		config := c.stores[i].pool.Config()
		dial := config.ConnConfig.DialFunc
		config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return &steppedConn{Conn: conn, stile: c.stiles[i], texts: map[string]string{}}, err
		}
		// A ping would be held like a statement, and no store waits long for one.
		config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
		c.stores[i].pool.Close()
		var err error
		if c.stores[i].pool, err = pgxpool.NewWithConfig(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// meeting is how two operations went.
type meeting struct {
	answers  [2]error
	steps    []step // as the server got them
	taken    [2]int // statements of each
	deadlock bool
	codes    []string // of errors that the server answered
}

func (m *meeting) String() string {
	var lines []string
	for _, s := range m.steps {
		lines = append(lines, fmt.Sprintf("%c %s", 'A'+s.actor, s.text))
	}
	return strings.Join(lines, "\n")
}

// step is a statement of one of both.
type step struct {
	actor int
	text  string
	ends  bool // its transaction
	until int  // how many steps were made when it was over
}

// over notes that the last step of an actor is, now or up to now.
func (m *meeting) over(actor int, ended bool) {
	for i := len(m.steps) - 1; i >= 0; i-- {
		if s := &m.steps[i]; s.actor == actor {
			if s.until == 0 {
				s.ends, s.until = ended, len(m.steps)
			}
			return
		}
	}
}

// run lets both operations run, in an order.
func (c *contest) run(operations [2]func(*Store) error, choose func(can [2]bool) int) *meeting {
	c.t.Helper()
	m := &meeting{}
	for i, g := range c.stiles {
		g.close()
		go func() {
			m.answers[i] = operations[i](c.stores[i])
			g.end()
		}()
	}
	for {
		can, more := c.settle(m)
		for i, g := range c.stiles {
			if rests, _ := g.rest(); rests {
				m.over(i, g.ended())
			}
		}
		if !more {
			break
		}
		i := choose(can)
		if err := c.stiles[i].step(); err != nil {
			c.t.Fatal(err)
		}
		m.taken[i]++
		m.steps = append(m.steps, step{actor: i, text: c.stiles[i].last()})
	}
	m.codes = slices.Concat(c.stiles[0].codes, c.stiles[1].codes)
	return m
}

// patience is how long a statement may run before the server is asked whether it waits
// for a lock.
const patience = time.Millisecond

// settle waits until each actor is at its turnstile, has ended, or waits for a lock that
// the other one holds, and says which can continue, and whether any is left.
func (c *contest) settle(m *meeting) ([2]bool, bool) {
	c.t.Helper()
	late := time.After(time.Minute)
	for waited := false; ; waited = true {
		var running []int32
		var can [2]bool
		for i, g := range c.stiles {
			rests, over := g.rest()
			can[i] = rests && !over
			if !rests {
				running = append(running, int32(g.backend()))
			}
		}
		switch {
		case len(running) == 0:
			return can, can[0] || can[1]
		case waited || c.blocked:
			c.blocked = c.wait(running)
			m.deadlock = m.deadlock || c.blocked && len(running) == 2
			if c.blocked && (can[0] || can[1]) {
				return can, true
			}
		}
		select {
		case <-c.bell:
		case <-time.After(patience):
		case <-late:
			c.t.Fatalf("it does not come to an end:\n%s", m)
		}
	}
}

// wait says whether all of these processes of the server wait for a lock.
func (c *contest) wait(processes []int32) bool {
	c.t.Helper()
	var wait bool
	err := c.asks.QueryRow(c.t.Context(), `SELECT bool_and(cardinality(pg_blocking_pids(p)) > 0) FROM unnest($1::int[]) p`, processes).Scan(&wait)
	if err != nil {
		c.t.Fatal(err)
	}
	return wait
}
