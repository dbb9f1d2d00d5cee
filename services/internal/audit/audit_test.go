package audit

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

type kept map[meta.Refusal]int64

func (k kept) RecordRefusals(_ context.Context, refusals map[meta.Refusal]int64) error {
	for r, n := range refusals {
		k[r] += n
	}
	return nil
}

// TestS86_RefusalsDoNotFillTheLog refuses logins of one tenant from many addresses
// for an hour.
func TestS86_RefusalsDoNotFillTheLog(t *testing.T) {
	rows := kept{}
	r := New(rows, slog.New(slog.DiscardHandler))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r.now = func() time.Time { return now }
	total := int64(0)
	for range 60 {
		for i := range 1000 {
			r.Add(meta.Refusal{Tenant: 1, Login: true, Actor: "ci", Address: fmt.Sprintf("2001:db8::%x", i)})
			total++
			if i%100 == 0 {
				r.Flush(t.Context())
			}
		}
		now = now.Add(time.Minute)
	}
	r.Add(meta.Refusal{Tenant: 2, Actor: "serviceAccounts/ci", Target: "x"})
	r.Add(meta.Refusal{Actor: "of no tenant"})
	r.Flush(t.Context())
	sum := int64(0)
	for row, n := range rows {
		if row.Tenant == 1 {
			sum += n
		}
	}
	if len(rows) != 60*(perMinute+1)+1 || sum != total {
		t.Errorf("%d rows that count %d, want %d rows that count %d", len(rows), sum, 60*(perMinute+1)+1, total)
	}
	if len(r.kinds) > 4 {
		t.Errorf("%d minutes are remembered", len(r.kinds))
	}
	var none *Refusals
	none.Add(meta.Refusal{Tenant: 1})
}
