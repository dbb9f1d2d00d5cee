package clusterrun

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/tools/testserver"
)

// observedPostgres is a database whose work is counted.
type observedPostgres struct {
	*testserver.PostgresServer
	t    *testing.T
	conn *pgx.Conn
}

// work is what the nodes made Postgres do, at most. A machine that is busy with
// other things has fewer of all a second, so transactions are also counted by
// what they were for.
type work struct {
	connections int
	rate        float64 // transactions a second
	cost        float64 // transactions for each request of a client
}

func (w work) String() string {
	return fmt.Sprintf("%d connections, %.0f transactions/s, %.1f for each request at most", w.connections, w.rate, w.cost)
}

func newObservedPostgres(t *testing.T) *observedPostgres {
	t.Helper()
	p := &observedPostgres{PostgresServer: testserver.StartPostgres(t), t: t}
	var err error
	if p.conn, err = pgx.Connect(t.Context(), p.URL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// window is the time over which a rate is taken: Postgres counts a connection's
// transactions once a second.
const window = 3 * time.Second

// observe counts while f runs; requests is how many clients have made.
func (p *observedPostgres) observe(requests func() int, f func()) work {
	p.t.Helper()
	stop, counted := make(chan struct{}), make(chan struct{})
	var w work
	var err error
	go func() {
		defer close(counted)
		w, err = p.count(requests, stop)
	}()
	func() {
		defer func() { close(stop); <-counted }() // also where f ends the test
		f()
	}()
	if err != nil {
		p.t.Fatal(err)
	}
	return w
}

// sample is one look at the counters.
type sample struct {
	at                     time.Time
	requests, transactions int
}

func (p *observedPostgres) count(requests func() int, stop <-chan struct{}) (work, error) {
	var w work
	var samples []sample
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		s := sample{at: time.Now(), requests: requests()}
		var connections int
		if err := p.conn.QueryRow(context.Background(), `SELECT
			(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'berth'),
			(SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database())`).Scan(&connections, &s.transactions); err != nil {
			return w, err
		}
		w.connections = max(w.connections, connections)
		samples = append(samples, s)
		if at := slices.IndexFunc(samples, func(old sample) bool { return s.at.Sub(old.at) <= window }); at > 0 {
			old := samples[at-1]
			transactions := float64(s.transactions - old.transactions)
			w.rate = max(w.rate, transactions/s.at.Sub(old.at).Seconds())
			w.cost = max(w.cost, transactions/float64(max(1, s.requests-old.requests)))
		}
		select {
		case <-stop:
			return w, nil
		case <-tick.C:
		}
	}
}
