package pgmeta

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/tools/testserver"
)

// briskly are lifetimes of hours, so that days have many of each. The restore window is
// the one of production.
var briskly = meta.Lifetimes{
	UploadTTL: time.Hour, Grace: 2 * time.Hour, HeadGrace: time.Hour, Released: time.Hour, StagedDelay: 10 * time.Minute,
	DeleteDelay: 26 * time.Hour, Evicted: 10 * time.Minute, Committed: time.Hour, Quarantine: time.Hour, Undelete: 6 * time.Hour,
	TagHistory: 12 * time.Hour,
}

// bytesInTime says when the bytes of each object were stored.
type bytesInTime struct {
	mu      sync.Mutex
	deleted map[blob.Key]time.Time // zero: not yet
	purged  map[blob.Key]bool      // of what a purge ended
}

func (b *bytesInTime) write(k blob.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deleted[k] = time.Time{}
}

func (b *bytesInTime) delete(k blob.Key, at time.Time, purged bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deleted[k], b.purged[k] = at, purged
}

// at says whether they were there at a time after they were written.
func (b *bytesInTime) at(k blob.Key, when time.Time) bool {
	deleted, written := b.deleted[k]
	return written && (deleted.IsZero() || deleted.After(when))
}

// moment is one that the database can be restored to.
type moment struct {
	name   string
	at     time.Time // by the clock of the store
	images map[imageIn]ackedImage
}

// days are some in the life of a deployment. Clients push and take away, the janitor
// comes by, and moments are marked meanwhile, also between the steps of one call.
type days struct {
	t     *testing.T
	s     *Store
	clock *clock
	bytes bytesInTime
	books imageBooks
	turn  sync.RWMutex // a purge of a digest has it alone

	clients []*dayClient
	moments [][]moment // by the pass in which they were marked
	first   moment     // the last one before the first purge
	within  []moment   // while a purge was running
}

// mark marks moments until done is closed.
func (d *days) mark(server *testserver.PostgresServer, done <-chan struct{}) {
	c := connect(d.t, server.URL())
	for pass := len(d.moments) - 1; ; {
		before, purges, purging := d.books.copy()
		m := moment{name: fmt.Sprintf("moment %d/%d", pass, len(d.moments[pass])), at: d.clock.Now(), images: map[imageIn]ackedImage{}}
		if _, err := c.Exec(d.t.Context(), `SELECT pg_create_restore_point($1)`, m.name); err != nil {
			d.t.Error(err)
			return
		}
		after, begun, still := d.books.copy()
		for where, one := range before { // that was there all the time
			if after[where].ack == one.ack {
				m.images[where] = one
			}
		}
		d.moments[pass] = append(d.moments[pass], m)
		switch {
		case begun == 0:
			d.first = m
		case purging && still && begun == purges:
			d.within = append(d.within, m)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// collect is all that the janitor does, once.
func (d *days) collect() {
	ctx := d.t.Context()
	for _, phase := range []func() (int, error){
		func() (int, error) { return d.s.ReapUploads(ctx, 100) },
		func() (int, error) { return d.s.PurgeDeleted(ctx, 100) },
		func() (int, error) { return d.s.ExpireCached(ctx, 100) },
		func() (int, error) { return d.s.UnlinkBlobs(ctx, 100) },
		func() (int, error) { return d.s.DropBlobs(ctx, 100) },
	} {
		if _, err := phase(); err != nil {
			d.t.Error(err)
		}
	}
	due, err := d.s.ClaimCondemned(ctx, 100)
	for _, c := range due {
		var purged bool
		if err == nil {
			err = d.s.pool.QueryRow(ctx, `SELECT purge IS NOT NULL FROM objects WHERE tenant_id = $1 AND incarnation = $2`, c.Key.Tenant, pgUUID(c.Key.Incarnation)).Scan(&purged)
		}
		d.bytes.delete(c.Key, d.clock.Now(), purged)
		if err == nil {
			err = d.s.ForgetObject(ctx, c.Key)
		}
	}
	if err != nil {
		d.t.Error(err)
	}
}

// pass lets a while pass, with so many calls of each client.
func (d *days) pass(server *testserver.PostgresServer, calls int, while time.Duration) {
	d.moments = append(d.moments, nil)
	done := make(chan struct{})
	var marker, all sync.WaitGroup
	marker.Go(func() { d.mark(server, done) })
	for _, c := range d.clients {
		all.Go(func() {
			for range calls {
				c.call()
			}
		})
	}
	all.Go(d.collect)
	all.Wait()
	close(done)
	marker.Wait()
	d.clock.Advance(while)
}

// restore restores the database to a moment, so much later by its clock, and says what of it
// points to bytes that are gone by then: of what was hosted, and of what a purge ended.
func (d *days) restore(t *testing.T, server, base *testserver.PostgresServer, m moment, later time.Duration) (int, int) {
	t.Helper()
	s := open(t, Options{URL: asNode(server.RestoreTo(t, base, m.name).URL()), Lifetimes: briskly})
	for _, found := range findings(t, s) {
		t.Error(found)
	}
	dangling, purged := 0, 0
	var after blob.Key
	for {
		rows, err := s.ListObjects(t.Context(), after, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			break
		}
		for _, row := range rows {
			after = row.Key
			switch there := row.Blob == "" || row.Cached || d.bytes.at(row.Key, m.at.Add(later)); {
			case !there && d.bytes.purged[row.Key]:
				purged++
			case !there:
				dangling++
			}
		}
	}
	for where, one := range m.images {
		d.pull(t, s, m.at, where, one)
	}
	t.Logf("%s, with %d images; a purge ended %d objects", m.at, len(m.images), purged)
	return dangling, purged
}

// pull pulls an image that was there at a time, and stayed, from the store that was restored
// to that time.
func (d *days) pull(t *testing.T, s *Store, at time.Time, where imageIn, one ackedImage) {
	t.Helper()
	r := d.clients[0].repo
	r.Name = where.repo
	if _, err := s.FindManifest(t.Context(), r, oci.Reference{Digest: where.digest}); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	for _, content := range one.contents {
		b, err := s.FindBlob(t.Context(), r, digestOf(content))
		if err != nil || !d.bytes.at(b.Key, at.Add(briskly.DeleteDelay)) && !d.bytes.purged[b.Key] {
			t.Errorf("%s of %s, in %s: %v", content, where, b.Key, err)
		}
	}
}

// chosen are moments to restore: the last one before the first purge, one while a purge was
// running, and others by chance.
func (d *days) chosen(play *rand.Rand, others int) []moment {
	chosen := []moment{d.first}
	if len(d.within) > 0 {
		chosen = append(chosen, d.within[play.IntN(len(d.within))])
	}
	for range others {
		marked := d.moments[play.IntN(len(d.moments))]
		chosen = append(chosen, marked[play.IntN(len(marked))])
	}
	return chosen
}

// newDays are those of an empty store.
func newDays(t *testing.T, s *Store, seed uint64) *days {
	t.Helper()
	d := &days{
		t: t, s: s, clock: newClock(t, s), // before anything is written, so that all of it goes by this clock
		bytes: bytesInTime{deleted: map[blob.Key]time.Time{}, purged: map[blob.Key]bool{}},
		books: imageBooks{images: map[imageIn]ackedImage{}},
	}
	r := fill(t, s)
	b, err := s.FindBlob(t.Context(), r, digestOf("config"))
	if err != nil {
		t.Fatal(err)
	}
	d.bytes.write(b.Key)
	u, err := s.CreateUpstream(t.Context(), meta.Cause{Op: uuid.New()}, meta.Upstream{Tenant: r.Tenant, Slug: "hub"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		d.clients = append(d.clients, newDayClient(d, i, r, u.Cache, seed))
	}
	return d
}

// TestR27_RestoreToAnyMoment: clients push, mount, delete, undelete and purge for days, and
// the janitor collects. The database is restored to moments of these days, also between the
// steps of a call, each as late as the delay of deletions allows: it points to no bytes that
// are gone, but to those that a purge ended, and has each image that was acknowledged.
func TestR27_RestoreToAnyMoment(t *testing.T) {
	t.Parallel() // it waits for servers of its own most of the time
	server := testserver.StartPostgres(t)
	server.Exec(`ALTER SYSTEM SET fsync = off`) // the machine does not crash, and the log is the same
	server.Archive()
	seed := dice.Seed(t)
	d := newDays(t, emptyOn(t, server, Options{Lifetimes: briskly}), seed)
	base := server.Copy()
	play := rand.New(rand.NewPCG(seed, 1000))
	for range dice.Count(t, 24, 240) {
		d.pass(server, 5, time.Duration(1+play.IntN(600))*time.Minute)
	}
	for range 3 { // whatever was purged last is due
		d.pass(server, 0, time.Hour)
	}
	server.AwaitArchive()
	for i, m := range d.chosen(play, dice.Count(t, 2, 200)) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			dangling, purged := d.restore(t, server, base, m, briskly.DeleteDelay)
			if dangling != 0 {
				t.Errorf("%d pointers to bytes that are gone", dangling)
			}
			if i == 0 && purged == 0 && d.books.purges > 0 {
				t.Error("the bytes that a purge ended are still there")
			}
		})
	}
	// What the test relies on: later than that, bytes are gone.
	if dangling, _ := d.restore(t, server, base, d.moments[4][0], 1000*time.Hour); dangling == 0 {
		t.Error("no bytes are gone after the delay of deletions")
	}
}
