package sqlitemeta

import (
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/pkg/meta/metatest"
)

// clock is moved by tests only.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func TestConformance(t *testing.T) {
	metatest.Run(t, harness)
}

func harness(t testing.TB, o metatest.Options) metatest.Harness {
	c := newClock()
	s := open(t, Options{Now: c.Now, Limits: o.Limits, MaxStaged: o.MaxStaged, MaxSessions: o.MaxSessions})
	return metatest.Harness{Store: s, Advance: c.Advance, Now: c.Now, SQL: rawSQL(t, s)}
}

func rawSQL(t testing.TB, s *Store) metatest.SQL {
	steps, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	exec := func(statements string) error {
		return s.write(t.Context(), func(tx *tx) error {
			_, err := tx.exec(statements)
			return err
		})
	}
	return metatest.SQL{
		Exec: exec,
		Break: func(statements string) error {
			if _, err := s.writer.conn.ExecContext(t.Context(), `PRAGMA foreign_keys = 0`); err != nil {
				return err
			}
			return exec(statements)
		},
		Steps:   steps,
		Broken:  broken,
		Refused: refused,
	}
}
