package audit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

type kept map[meta.Refusal]int64

func (k kept) RecordRefusals(_ context.Context, refusals map[meta.Refusal]int64) error {
	for r, n := range refusals {
		k[r] += n
	}
	return nil
}

// TestU84_WhatIsTypedIsText: a name may have any bytes, of which databases refuse some.
func TestU84_WhatIsTypedIsText(t *testing.T) {
	rows := kept{}
	r := New(rows, slog.New(slog.DiscardHandler))
	r.Add(meta.Refusal{Tenant: 1, Login: true, Actor: "a\x00b\xff\nc", Target: "\x1b[2J/v2/"})
	r.Flush(t.Context())
	for row := range rows {
		if row.Actor != "abc" || row.Target != "[2J/v2/" {
			t.Errorf("%q %q", row.Actor, row.Target)
		}
	}
	if len(rows) != 1 {
		t.Errorf("%d rows", len(rows))
	}
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
	r.Add(meta.Refusal{Actor: "of no tenant", UserAgent: "curl/8"})
	r.Add(meta.Refusal{Actor: "of no tenant", UserAgent: "curl/9"}) // which anyone can change
	r.Flush(t.Context())
	sum := int64(0)
	for row, n := range rows {
		if row.Tenant == 1 {
			sum += n
		}
	}
	if len(rows) != 60*(perMinute+1)+2 || sum != total {
		t.Errorf("%d rows that count %d, want %d rows that count %d", len(rows), sum, 60*(perMinute+1)+2, total)
	}
	if own := (meta.Refusal{Tenant: meta.Deployment, Actor: "of no tenant", UserAgent: "curl/8", Minute: now}); rows[own] != 2 {
		t.Errorf("the deployment's own log has not %+v: %+v", own, rows)
	}
	if len(r.kinds) > 4 {
		t.Errorf("%d minutes are remembered", len(r.kinds))
	}
	var none *Refusals
	none.Add(meta.Refusal{Tenant: 1})
}

// TestS86_RefusalsOfManyTenantsHideNoOthers fails logins at many hosts before one
// tenant's are tried.
func TestS86_RefusalsOfManyTenantsHideNoOthers(t *testing.T) {
	for _, tenants := range []int{600, 4000, 40_000} {
		rows, log := kept{}, bytes.Buffer{}
		r := New(rows, slog.New(slog.NewTextHandler(&log, nil)))
		total := int64(0)
		for id := range tenants {
			for i := range 20 {
				r.Add(meta.Refusal{Tenant: tenant.ID(id + 10), Login: true, Actor: fmt.Sprint("guess", i)})
				total++
			}
		}
		victim := []meta.Refusal{{Tenant: 1, Login: true, Actor: "root", Address: "192.0.2.1"}, {Tenant: 1, Actor: "serviceAccounts/ci", Target: "x"}}
		for _, v := range victim {
			r.Add(v)
			total++
		}
		r.Flush(t.Context())
		written, told := int64(0), map[meta.Refusal]bool{}
		for row, n := range rows {
			written += n
			row.Minute = time.Time{}
			told[row] = true
		}
		if len(rows) > maxKinds {
			t.Errorf("%d tenants have %d rows", tenants, len(rows))
		}
		lost := total - written
		if lost == 0 && (!told[victim[0]] || !told[victim[1]]) {
			t.Errorf("behind %d tenants the refusals of another are not told", tenants)
		}
		want := 0
		if lost > 0 {
			want = 1
		}
		if n := strings.Count(log.String(), "\n"); n != want || lost > 0 && !strings.Contains(log.String(), fmt.Sprint("refusals=", lost)) {
			t.Errorf("%d refusals of %d tenants are missing, and the log says %q", lost, tenants, log.String())
		}
		if (lost > 0) != (tenants == 40_000) {
			t.Errorf("of %d tenants %d refusals are missing", tenants, lost)
		}
	}
}
