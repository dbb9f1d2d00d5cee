package usage

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// kept keeps what is recorded, each batch once. It fails as often as it is told to, before or
// after it has taken the batch.
type kept struct {
	fail, failAfter int
	last            int64
	batches         int
	sums            map[tenant.ID]meta.UsageCount
}

func (k *kept) RecordUsage(_ context.Context, b meta.UsageBatch) error {
	if k.fail--; k.fail >= 0 {
		return errors.New("out")
	}
	if b.Number > k.last {
		k.last = b.Number
		k.batches++
		for _, u := range b.Tenants {
			sum := k.sums[u.Tenant]
			sum.Pulls += u.Pulls
			sum.EgressBytes += u.EgressBytes
			k.sums[u.Tenant] = sum
		}
	}
	if k.failAfter--; k.failAfter >= 0 {
		return errors.New("the answer was lost")
	}
	return nil
}

func counters() (*Counters, *kept) {
	store := &kept{sums: map[tenant.ID]meta.UsageCount{}}
	return New(store, slog.New(slog.DiscardHandler)), store
}

func TestW255_WhatCannotBeWrittenIsWrittenLaterAndOnce(t *testing.T) {
	t.Parallel()
	c, store := counters()
	store.fail, store.failAfter = 1, 1
	c.Of(7).Pulls.Add(1)
	if c.Flush(t.Context()) == nil { // not taken
		t.Error("a store that is out is not an error")
	}
	c.Of(7).Pulls.Add(10)
	if c.Flush(t.Context()) == nil { // taken, and not said
		t.Error("a lost answer is not an error")
	}
	c.Of(7).Pulls.Add(100)
	if err := c.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if got := store.sums[7].Pulls; got != 111 || store.batches != 2 {
		t.Errorf("%d pulls in %d batches", got, store.batches)
	}
	if err := c.Flush(t.Context()); err != nil || store.batches != 2 {
		t.Errorf("nothing is written in batch %d, %v", store.batches, err)
	}
}

func TestW255_AProcessEndsWithItsLastBatch(t *testing.T) {
	t.Parallel()
	c, store := counters()
	c.Of(7).Pulls.Add(1)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	c.Run(ctx)
	if store.sums[7].Pulls != 1 {
		t.Errorf("recorded %+v", store.sums)
	}
}

func TestW247_BatchesAreBounded(t *testing.T) {
	t.Parallel()
	c, store := counters()
	for id := range tenant.ID(2*batchSize + 1) {
		c.Of(id + 1).Pulls.Add(1)
	}
	if err := c.Flush(t.Context()); err != nil || store.batches != 3 || len(store.sums) != 2*batchSize+1 {
		t.Errorf("%d batches of %d tenants, %v", store.batches, len(store.sums), err)
	}
	if (*Counters)(nil).Of(1) != nil {
		t.Error("no counters count")
	}
}

func TestW252_WhatWasTakenOffLaterIsNotBelowZero(t *testing.T) {
	t.Parallel()
	c, store := counters()
	for _, n := range []int64{100, -30, 20, 50} {
		c.Of(7).Egress.Add(n)
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := store.sums[7].EgressBytes; got != 140 || store.batches != 2 {
		t.Errorf("%d bytes in %d batches", got, store.batches)
	}
}

func TestW247_RequestsCountBesideFlushes(t *testing.T) {
	t.Parallel()
	c, store := counters()
	const requests, each = 8, 1000
	var all sync.WaitGroup
	for range requests {
		all.Go(func() {
			for i := range each {
				c.Of(tenant.ID(i%3 + 1)).Pulls.Add(1)
			}
		})
	}
	for range 20 {
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	if err := c.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if sum := store.sums[1].Pulls + store.sums[2].Pulls + store.sums[3].Pulls; sum != requests*each {
		t.Errorf("%d pulls", sum)
	}
}

func BenchmarkCounterOfATenant(b *testing.B) {
	c, _ := counters()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			c.Of(7).Egress.Add(1)
		}
	})
}
