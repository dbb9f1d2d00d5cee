package pgmeta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/pause"
)

// addBlobs adds blobs to the repository app: live ones, a hundred in each manifest, and dead
// ones, whose links have expired.
func addBlobs(t testing.TB, url string, r meta.Repo, live, dead int) {
	t.Helper()
	c := connect(t, url)
	counts := strings.NewReplacer("LIVE", strconv.Itoa(live), "ALL", strconv.Itoa(live+dead))
	for _, statement := range []string{
		`SET session_replication_role = replica`,
		`CREATE TEMPORARY TABLE made AS
		 SELECT r.tenant_id, r.id AS repo_id, '\x01'::bytea || sha256(i::text::bytea) AS digest, gen_random_uuid() AS incarnation,
		        CASE WHEN i > LIVE THEN berth_now() - interval '1 second' END AS keep_until, '\x01'::bytea || sha256((-1 - i / 100)::text::bytea) AS manifest
		   FROM repositories r CROSS JOIN generate_series(1, ALL) i WHERE r.name = 'app'`,
		`INSERT INTO objects (tenant_id, incarnation, state, size, created_at) SELECT tenant_id, incarnation, 'L', 1000, berth_now() FROM made`,
		`INSERT INTO blobs (tenant_id, digest, size, incarnation) SELECT tenant_id, digest, 1000, incarnation FROM made`,
		`INSERT INTO repo_blobs (tenant_id, repo_id, digest, keep_until) SELECT tenant_id, repo_id, digest, keep_until FROM made`,
		`INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, artifact_type, annotations, created_at, payload)
		 SELECT tenant_id, repo_id, manifest, '', 2, '', '{}', berth_now(), '{}' FROM made WHERE keep_until IS NULL GROUP BY 1, 2, 3`,
		`INSERT INTO manifest_blobs SELECT tenant_id, repo_id, manifest, digest, repo_id FROM made WHERE keep_until IS NULL`,
		`UPDATE usage SET used = used + 1000 * ALL, overhead = overhead + 512 * ALL`,
		`ANALYZE`,
	} {
		if _, err := c.Exec(t.Context(), counts.Replace(statement)); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// touched are the rows of all tables that were read or changed up to now. A connection
// tells of them when it ends at the latest, so all others end.
func touched(t *testing.T, c *pgx.Conn) int {
	t.Helper()
	var ended bool
	var rows int
	err := c.QueryRow(t.Context(), `
SELECT coalesce(bool_and(pg_terminate_backend(pid, 10000)), true) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&ended)
	if err == nil && !ended {
		err = errors.New("a connection does not end")
	}
	if err == nil {
		err = c.QueryRow(t.Context(), `
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd + n_tup_del)
  FROM pg_stat_user_tables WHERE schemaname = 'public' AND relname <> 'test_clock'`).Scan(&rows)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// collected lets a janitor collect all that is due, which are so many blobs, and returns
// how many rows it touched.
func collected(t *testing.T, live, dead int) int {
	t.Helper()
	url := migrated(t)
	s := open(t, Options{URL: url})
	clock := newClock(t, s)
	addBlobs(t, url, fill(t, s), live, dead)
	asks := connect(t, url)
	before := touched(t, asks)
	s.pool.Reset()
	clock.Advance(time.Minute)
	ended := 0
	for range dead {
		for _, phase := range []phase{s.ReapUploads, s.UnlinkBlobs, s.DropBlobs} {
			if _, err := phase(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
		clock.Advance(25 * time.Hour)
		condemned, err := s.ClaimCondemned(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range condemned {
			if err := s.ForgetObject(t.Context(), object.Key); err != nil {
				t.Fatal(err)
			}
		}
		if ended += len(condemned); ended >= dead {
			break
		}
	}
	if ended != dead {
		t.Fatalf("%d of %d blobs are collected", ended, dead)
	}
	return touched(t, asks) - before
}

// TestW93_CollectionTouchesWhatIsDead collects a thousand blobs beside few and beside a
// million others: it touches as many rows, some of each.
func TestW93_CollectionTouchesWhatIsDead(t *testing.T) {
	dead := dice.Count(t, 200, 1000)
	live := dice.Count(t, 20_000, 1_000_000)
	few, many := collected(t, dead, dead), collected(t, live, dead)
	t.Logf("count %d rows of %d dead blobs beside %d others, %d beside %d", few, dead, dead, many, live)
	if many > few+few/20 || many > 40*dead {
		t.Errorf("%d rows are touched beside %d live blobs, and %d beside %d", many, live, few, dead)
	}
}

// BenchmarkPushBesideCollection is a blob made live beside a million others, while nothing
// is due, and while a janitor collects, at its gentle pace.
func BenchmarkPushBesideCollection(b *testing.B) {
	for _, run := range []struct {
		name string
		dead int
	}{{"idle", 0}, {"collecting", 20_000}} {
		b.Run(run.name, func(b *testing.B) {
			url := migrated(b)
			s := open(b, Options{URL: url})
			r := fill(b, s)
			addBlobs(b, url, r, 1_000_000, run.dead)
			sessions := make([]meta.Upload, b.N)
			for i := range sessions {
				sessions[i] = sealed(b, s, r, fmt.Sprintf("content %d", i))
			}
			ctx, stop := context.WithCancel(b.Context())
			var janitor errgroup.Group
			defer func() {
				stop()
				if err := janitor.Wait(); err != nil && ctx.Err() == nil {
					b.Error(err)
				}
			}()
			if run.dead > 0 {
				janitor.Go(func() error {
					for work := 1; work > 0; {
						work = 0
						for _, phase := range []phase{s.UnlinkBlobs, s.DropBlobs} {
							called := time.Now()
							n, err := phase(ctx, 100)
							if err != nil {
								return err
							}
							work += n
							if err := pause.For(ctx, 9*time.Since(called)); err != nil {
								return err
							}
						}
					}
					return nil
				})
			}
			took := make([]time.Duration, b.N)
			b.ResetTimer()
			for i := range sessions {
				began := time.Now()
				if _, err := s.CommitUpload(b.Context(), meta.Cause{Op: uuid.New()}, sessions[i], false); err != nil {
					b.Fatal(err)
				}
				took[i] = time.Since(began)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
