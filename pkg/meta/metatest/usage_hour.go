package metatest

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// usage lists periods of a tenant.
func (w world) usage(id tenant.ID, q meta.UsageQuery) []meta.UsagePeriod {
	w.t.Helper()
	if q.Size == 0 {
		q.Size = 1000
	}
	found, err := w.Store.UsagePeriods(w.t.Context(), id, q)
	w.must(err)
	return found
}

// counted is the sum of what passed.
func (w world) counted(id tenant.ID) meta.UsageCount {
	w.t.Helper()
	var sum meta.UsageCount
	for _, p := range w.usage(id, meta.UsageQuery{Unit: meta.UsageMonth}) {
		sum.Pulls += p.Pulls
		sum.EgressBytes += p.EgressBytes
	}
	return sum
}

func (w world) recordUsage(recorder uuid.UUID, number int64, counts ...meta.TenantUsage) {
	w.t.Helper()
	w.must(w.Store.RecordUsage(w.t.Context(), meta.UsageBatch{Recorder: recorder, Number: number, Tenants: counts}))
}

// sampleAll samples in steps, and returns how many tenants.
func (w world) sampleAll(step int) int {
	w.t.Helper()
	for all := 0; ; {
		n, err := w.Store.SampleUsage(w.t.Context(), step)
		w.must(err)
		if all += n; n == 0 {
			return all
		}
	}
}

// newHour makes a world whose clock is a while after the beginning of an hour.
func newHour(t *testing.T, open Open) world {
	w := newWorld(t, open)
	w.Advance(meta.UsageHour.Next(w.Now()).Add(10 * time.Minute).Sub(w.Now()))
	return w
}

func testUsageHours(t *testing.T, open Open) {
	t.Run("W247 a batch counts once, in the hour that it is written in", func(t *testing.T) {
		w := newHour(t, open)
		other, _ := w.addTenant("other", 0)
		one := meta.TenantUsage{Tenant: w.tenant, UsageCount: meta.UsageCount{Pulls: 1, Pushes: 2, EgressBytes: 3 << 40, ReceivedBytes: 4, CacheSavedBytes: 5, SharingSavedBytes: 6}}
		begin := w.Now().UTC().Truncate(time.Hour)
		first, second := uuid.New(), uuid.New()
		w.recordUsage(first, 1, one)
		w.recordUsage(first, 1, one) // its answer was lost
		w.recordUsage(second, 1, meta.TenantUsage{Tenant: other, UsageCount: meta.UsageCount{Pulls: 7}}, one)
		w.recordUsage(second, 2) // nothing
		w.Advance(time.Hour)
		w.recordUsage(first, 2, one)
		want := []meta.UsagePeriod{{Begin: begin, UsageCount: meta.UsageCount{
			Pulls: 2, Pushes: 4, EgressBytes: 6 << 40, ReceivedBytes: 8, CacheSavedBytes: 10, SharingSavedBytes: 12,
		}}, {Begin: begin.Add(time.Hour), UsageCount: one.UsageCount}}
		if got := w.usage(w.tenant, meta.UsageQuery{Unit: meta.UsageHour}); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got := w.usage(other, meta.UsageQuery{Unit: meta.UsageHour}); len(got) != 1 || got[0].Pulls != 7 {
			t.Errorf("of the other tenant: %+v", got)
		}
	})
	t.Run("W247 processes that write about the same tenants at once lose nothing", func(t *testing.T) {
		w := newHour(t, open)
		ids := []tenant.ID{w.tenant}
		for _, slug := range []string{"bb", "cc", "dd"} {
			id, _ := w.addTenant(slug, 0)
			ids = append(ids, id)
		}
		const processes, batches = 4, 5
		var all sync.WaitGroup
		for p := range processes {
			all.Go(func() {
				recorder := uuid.New()
				for number := range batches {
					var rows []meta.TenantUsage
					for i := range ids { // each in an order of its own
						rows = append(rows, meta.TenantUsage{Tenant: ids[(i+p)%len(ids)], UsageCount: meta.UsageCount{Pulls: 1, EgressBytes: 10}})
					}
					w.fine(w.Store.RecordUsage(t.Context(), meta.UsageBatch{Recorder: recorder, Number: int64(number) + 1, Tenants: rows}))
				}
			})
		}
		all.Go(func() {
			_, err := w.Store.SampleUsage(t.Context(), 3)
			w.fine(err)
		})
		all.Wait()
		for _, id := range ids {
			if got := w.counted(id); got.Pulls != processes*batches || got.EgressBytes != 10*processes*batches {
				t.Errorf("of tenant %d are counted %+v", id, got)
			}
		}
	})
	t.Run("W248 each hour has a sample of what every tenant stores", func(t *testing.T) {
		w := newHour(t, open)
		w.pushImage(w.repo("app"), "v1", "layer", "other layer")
		gone := w.pushImage(w.repo("app"), "v2", "a layer that goes")
		w.must(w.tryDelete(w.repo("app"), gone.Digest))
		u := w.addUpstream("ghcr", meta.UpstreamSettings{})
		cache := meta.Repo{Tenant: w.tenant, Registry: u.Cache, Name: "app"}
		w.push(cache, "of an upstream")
		for _, slug := range []string{"bb", "cc"} {
			w.addTenant(slug, 0)
		}
		begin := w.Now().UTC().Truncate(time.Hour)
		if n := w.sampleAll(2); n != 3 {
			t.Errorf("%d tenants were sampled", n)
		}
		w.pushImage(w.repo("late"), "v1", "after the sample")
		if n := w.sampleAll(2); n != 0 {
			t.Errorf("%d tenants were sampled again in the hour", n)
		}
		w.Advance(-time.Hour) // by a clock that is behind
		if n := w.sampleAll(2); n != 0 {
			t.Errorf("%d tenants were sampled for the hour before", n)
		}
		w.Advance(time.Hour)
		now, err := w.Store.FindTenant(t.Context(), "acme")
		w.must(err)
		w.Advance(2 * time.Hour) // an hour has no sample
		if n := w.sampleAll(1000); n != 3 {
			t.Errorf("%d tenants were sampled in the third hour", n)
		}
		got := w.usage(w.tenant, meta.UsageQuery{Unit: meta.UsageHour})
		if len(got) != 2 || !got[0].Begin.Equal(begin) || !got[1].Begin.Equal(begin.Add(2*time.Hour)) {
			t.Fatalf("samples of %+v", got)
		}
		for _, p := range got {
			if p.SampledHours != 1 || p.StoredByteHours == 0 || p.CachedByteHours == 0 || p.TrashByteHours == 0 {
				t.Errorf("sampled %+v", p)
			}
		}
		last := got[1]
		if last.StoredByteHours <= got[0].StoredByteHours || last.CachedByteHours != now.Cached || last.StoredByteHours+last.CachedByteHours+last.TrashByteHours != now.Used+now.Overhead {
			t.Errorf("sampled %+v of %+v", last, now)
		}
		sum := w.usage(w.tenant, meta.UsageQuery{Unit: meta.UsageMonth})
		if first := sum[0]; len(sum) == 1 && (first.SampledHours != 2 || first.StoredByteHours != got[0].StoredByteHours+last.StoredByteHours) {
			t.Errorf("byte-hours of the month are %+v", first)
		}
	})
	t.Run("W248 a clock that was wrong once does not end samples", func(t *testing.T) {
		w := newHour(t, open)
		w.Advance(30 * 24 * time.Hour)
		w.sampleAll(10)
		w.Advance(-30 * 24 * time.Hour)
		if n := w.sampleAll(10); n != 1 {
			t.Errorf("%d tenants were sampled after the clock was right again", n)
		}
	})
	t.Run("W253 what several repositories of a tenant hold is measured once a day, in steps", func(t *testing.T) {
		w := newHour(t, open)
		other, registry := w.addTenant("other", 0)
		one, two := w.repo("one"), w.repo("two")
		w.push(one, "own of one")
		w.push(two, "own of two!")
		b := w.push(one, "shared by both")
		_, err := w.Store.MountBlob(t.Context(), cause(), one, two, b.Digest)
		w.must(err)
		w.push(meta.Repo{Tenant: other, Registry: registry, Name: "one"}, "shared by both") // of another tenant
		cache := meta.Repo{Tenant: w.tenant, Registry: w.addUpstream("ghcr", meta.UpstreamSettings{}).Cache, Name: "app"}
		for _, name := range []string{"app", "lib"} {
			cache.Name = name
			w.push(cache, "only cached, by two")
		}
		measure := func() int {
			t.Helper()
			for steps := 0; ; steps++ {
				n, err := w.Store.MeasureSharing(t.Context(), 1)
				w.must(err)
				if n == 0 {
					return steps
				}
			}
		}
		if steps := measure(); steps < 6 {
			t.Errorf("six blobs were measured in %d steps", steps)
		}
		w.push(two, "own of one") // after the measurement
		if steps := measure(); steps != 0 {
			t.Errorf("%d steps of a second measurement of the day", steps)
		}
		sampled := func(id tenant.ID) int64 {
			t.Helper()
			w.sampleAll(10)
			all := w.usage(id, meta.UsageQuery{Unit: meta.UsageHour})
			return all[len(all)-1].SharedByteHours
		}
		if got := sampled(w.tenant); got != b.Size {
			t.Errorf("%d bytes are shared, want %d", got, b.Size)
		}
		if got := sampled(other); got != 0 {
			t.Errorf("%d bytes of the other tenant are shared", got)
		}
		w.Advance(24 * time.Hour)
		measure()
		if got := sampled(w.tenant); got != b.Size+int64(len("own of one")) {
			t.Errorf("%d bytes are shared on the next day", got)
		}
	})
	t.Run("W249 hours are kept for 13 months, also those of deleted tenants, and their names lead to no other tenant's", func(t *testing.T) {
		w := newHour(t, open)
		recorder := uuid.New()
		old, _ := w.addTenant("old", 0)
		w.Advance(meta.UsageMonth.Next(w.Now()).Add(-150 * time.Minute).Sub(w.Now())) // the last three hours of a month
		end := meta.UsageMonth.Floor(w.Now()).AddDate(0, 14, 0)
		for i := range 3 {
			w.recordUsage(recorder, int64(i)+1, meta.TenantUsage{Tenant: old, UsageCount: meta.UsageCount{Pulls: 1}})
			w.Advance(time.Hour)
		}
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "old", 0, true))
		w.Advance(2 * meta.DefaultLifetimes.Undelete)
		for {
			n, err := w.Store.PurgeDeleted(t.Context(), 100)
			w.must(err)
			if n == 0 {
				break
			}
		}
		w.Advance(2 * meta.DefaultLifetimes.Quarantine)
		again, _ := w.addTenant("old", 0)
		if got := w.usage(again, meta.UsageQuery{Unit: meta.UsageHour}); len(got) != 0 {
			t.Errorf("a tenant of the same name has %+v", got)
		}
		w.Advance(end.Add(-time.Minute).Sub(w.Now()))
		if n, err := w.Store.TrimUsage(t.Context(), 100); err != nil || n != 0 {
			t.Errorf("%d hours, %v, are deleted too early", n, err)
		}
		if got := w.counted(old); got.Pulls != 3 {
			t.Errorf("%+v is left", got)
		}
		w.Advance(time.Minute)
		for want := 2; want >= 0; want-- {
			if n, err := w.Store.TrimUsage(t.Context(), 1); err != nil || n != 1 {
				t.Errorf("a step deleted %d hours, %v", n, err)
			}
			if got := w.counted(old); got.Pulls != int64(want) {
				t.Errorf("%+v is left, want %d", got, want)
			}
		}
	})
	t.Run("W250 periods are sums of the hours within a range", func(t *testing.T) {
		w := newHour(t, open)
		recorder := uuid.New()
		w.Advance(meta.UsageMonth.Next(w.Now()).Add(-110 * time.Minute).Sub(w.Now())) // in the last hour but one of a month
		first := meta.UsageHour.Floor(w.Now())
		for i := range 4 {
			w.recordUsage(recorder, int64(i)+1, meta.TenantUsage{Tenant: w.tenant, UsageCount: meta.UsageCount{Pulls: 1 << i}})
			w.Advance(time.Hour)
		}
		w.Advance(24 * time.Hour)
		w.recordUsage(recorder, 5, meta.TenantUsage{Tenant: w.tenant, UsageCount: meta.UsageCount{Pulls: 16}})
		for _, c := range []struct {
			name string
			q    meta.UsageQuery
			want []int64
		}{
			{"hours", meta.UsageQuery{Unit: meta.UsageHour}, []int64{1, 2, 4, 8, 16}},
			{"days", meta.UsageQuery{Unit: meta.UsageDay}, []int64{3, 12, 16}},
			{"months", meta.UsageQuery{Unit: meta.UsageMonth}, []int64{3, 28}},
			{"a page", meta.UsageQuery{Unit: meta.UsageHour, Size: 2}, []int64{1, 2}},
			{"the next page", meta.UsageQuery{Unit: meta.UsageHour, From: first.Add(2 * time.Hour), Size: 2}, []int64{4, 8}},
			{"days within", meta.UsageQuery{Unit: meta.UsageDay, From: first.Add(time.Hour), To: first.Add(3 * time.Hour)}, []int64{2, 4}},
			{"hours that begin within", meta.UsageQuery{Unit: meta.UsageHour, From: first.Add(time.Second), To: first.Add(2*time.Hour + time.Second)}, []int64{2, 4}},
			{"nothing", meta.UsageQuery{Unit: meta.UsageMonth, From: first.Add(72 * time.Hour)}, nil},
		} {
			got := w.usage(w.tenant, c.q)
			fits := len(got) == len(c.want)
			for i := range c.want {
				fits = fits && got[i].Pulls == c.want[i] && got[i].Begin.Equal(c.q.Unit.Floor(got[i].Begin))
			}
			if !fits {
				t.Errorf("%s: %+v, want %v", c.name, got, c.want)
			}
		}
	})
}
