package metatest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testEvents(t *testing.T, open Open) {
	t.Run("S85 say from where and what changed, S86 and count what is refused", func(t *testing.T) {
		w := newWorld(t, open)
		by := cause()
		by.Address, by.Changes = "192.0.2.1", []meta.Change{{Field: "read_only", Old: "false", New: "true"}}
		_, err := w.Store.UpdateRegistry(t.Context(), by, meta.Registry{ID: w.registry, Tenant: w.tenant, Slug: tenant.MainRegistry, Settings: tenant.Settings{ReadOnly: true}})
		w.must(err)
		login := meta.Refusal{Tenant: w.tenant, Login: true, Actor: "ci", Address: "192.0.2.2", Minute: time.Unix(1_700_000_040, 0).UTC()}
		call := meta.Refusal{Tenant: w.tenant, Actor: "serviceAccounts/ci", Address: "192.0.2.3", Target: "admin API", Minute: login.Minute}
		for range 2 {
			w.must(w.Store.RecordRefusals(t.Context(), map[meta.Refusal]int64{login: 3, call: 1}))
		}
		events, err := w.Store.ListEvents(t.Context(), w.tenant, meta.Page{Size: 10})
		w.must(err)
		found := map[string]meta.Event{}
		for _, e := range events {
			found[e.Verb] = e
		}
		if e := found["registry.update"]; e.Address != "192.0.2.1" || e.Changes != `[{"field":"read_only","old":"false","new":"true"}]` || e.Times != 1 {
			t.Errorf("update %+v", e)
		}
		if e := found["login.fail"]; e.Address != "192.0.2.2" || e.Actor != "ci" || e.Times != 6 || !e.At.Equal(login.Minute) {
			t.Errorf("login %+v", e)
		}
		if e := found["call.deny"]; e.Address != "192.0.2.3" || e.Target != "admin API" || e.Times != 2 {
			t.Errorf("call %+v", e)
		}
	})
	t.Run("S44 go when they are old, a step at a time", func(t *testing.T) {
		w := newWorld(t, open)
		for i := range 12 {
			w.addAccount(fmt.Sprintf("early%d", i), access.Reader)
		}
		w.Advance(meta.DefaultLifetimes.Events - time.Hour)
		w.addAccount("late", access.Reader)
		if n, err := w.Store.TrimEvents(t.Context(), 5); err != nil || n != 0 {
			t.Errorf("%d of the young events went, %v", n, err)
		}
		w.Advance(2 * time.Hour)
		trimmed := 0
		for {
			n, err := w.Store.TrimEvents(t.Context(), 5)
			w.must(err)
			if n == 0 {
				break
			}
			if n > 5 {
				t.Errorf("%d at once", n)
			}
			trimmed += n
		}
		left := w.events("", 100)
		if trimmed != 14 || len(left) != 1 || left[0].Target != "serviceAccounts/late" { // the tenant's own, too, in both logs
			t.Errorf("%d went, %+v are left", trimmed, left)
		}
	})
	t.Run("tell of every change, and of no refusal", func(t *testing.T) {
		w := newWorld(t, open)
		ctx := t.Context()
		w.addTenant("other", 0)
		dev, err := w.Store.CreateRegistry(ctx, cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.must(err)
		_, err = w.Store.CreateRegistry(ctx, cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.UpdateRegistry(ctx, cause(), meta.Registry{ID: dev.ID, Tenant: w.tenant, Slug: "dev", Settings: tenant.Settings{ReadOnly: true}})
		w.must(err)
		w.addDomain("a.com", "dev", false)
		_, err = w.Store.VerifyDomain(ctx, cause(), w.tenant, "a.com")
		w.must(err)
		w.must(w.Store.DeleteDomain(ctx, cause(), w.tenant, "a.com"))
		w.refused(w.Store.DeleteDomain(ctx, cause(), w.tenant, "a.com"), fault.NotFound, fault.ResourceUnknown)
		a := w.addAccount("ci", access.Writer)
		w.addKey("k", "secret")
		w.must(w.Store.DeleteAccountKey(ctx, cause(), w.tenant, access.ServiceKind, "ci", "k"))
		_, err = w.Store.UpdateAccount(ctx, cause(), a)
		w.must(err)
		w.must(w.Store.DeleteAccount(ctx, cause(), w.tenant, access.ServiceKind, "ci", 0))
		w.must(w.Store.DeleteRegistry(ctx, cause(), w.tenant, "dev", 0, true))
		_, err = w.Store.UpdateTenant(ctx, cause(), w.acme())
		w.must(err)
		w.must(w.Store.DeleteTenant(ctx, cause(), "acme", 0, true))

		var got []string
		for _, e := range w.events("", 100) {
			got = append(got, e.Verb+" "+e.Target)
			if e.Actor != "serviceAccounts/ci" || e.RequestID != "r" || e.Tenant != w.tenant || !e.At.Equal(w.Now()) {
				t.Errorf("event %+v", e)
			}
		}
		want := []string{
			"tenant.delete tenants/acme", "tenant.update tenants/acme", "registry.delete registries/dev",
			"serviceAccount.delete serviceAccounts/ci", "serviceAccount.update serviceAccounts/ci",
			"key.delete serviceAccounts/ci/keys/k", "key.create serviceAccounts/ci/keys/k", "serviceAccount.create serviceAccounts/ci",
			"domain.delete domains/a.com", "domain.verify domains/a.com", "domain.create domains/a.com",
			"registry.update registries/dev", "registry.create registries/dev", "tenant.create tenants/acme",
		}
		if !slices.Equal(got, want) {
			t.Errorf("events\n%q\nwant\n%q", got, want)
		}
	})
	t.Run("P30 are read in parts, either way", func(t *testing.T) { testEventsBetween(t, open) })
	t.Run("page newest first", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"aa", "bb", "cc"} {
			w.addAccount(slug, access.Reader)
		}
		all := w.events("", 100)
		if len(all) != 4 || !slices.IsSortedFunc(all, func(a, b meta.Event) int { return int(b.ID - a.ID) }) {
			t.Fatalf("events %+v", all)
		}
		if page := w.events("", 2); !slices.Equal(page, all[:2]) {
			t.Errorf("first page %+v", page)
		}
		if page := w.events(strconv.FormatInt(all[1].ID, 10), 9); !slices.Equal(page, all[2:]) {
			t.Errorf("second page %+v", page)
		}
		for _, after := range []string{"x", "1; DROP TABLE events", "99999999999999999999"} {
			_, err := w.Store.ListEvents(t.Context(), w.tenant, meta.Page{After: after, Size: 1})
			w.refused(err, fault.Invalid, fault.PageTokenInvalid)
		}
	})
}

func testEventsBetween(t *testing.T, open Open) {
	w := newWorld(t, open)
	for _, slug := range []string{"aa", "bb", "cc"} {
		w.addAccount(slug, access.Reader)
	}
	other, _ := w.addTenant("other", 0)
	newest := w.events("", 100)
	oldest := slices.Clone(newest)
	slices.Reverse(oldest)
	for _, c := range []struct {
		between meta.Between[int64]
		want    []meta.Event
	}{
		{meta.Between[int64]{Before: math.MaxInt64, Size: 9}, oldest},
		{meta.Between[int64]{Before: math.MaxInt64, Descending: true, Size: 9}, newest},
		{meta.Between[int64]{Before: math.MaxInt64, Size: 2}, oldest[:2]},
		{meta.Between[int64]{Before: math.MaxInt64, Descending: true, Size: 2}, newest[:2]},
		{meta.Between[int64]{After: oldest[0].ID, Before: oldest[3].ID, Size: 9}, oldest[1:3]},
		{meta.Between[int64]{After: oldest[0].ID, Before: oldest[3].ID, Descending: true, Size: 9}, newest[1:3]},
		{meta.Between[int64]{After: oldest[1].ID, Before: oldest[1].ID, Size: 9}, nil},
		{meta.Between[int64]{After: math.MaxInt64, Before: math.MinInt64, Size: 9}, nil},
		{meta.Between[int64]{Before: math.MaxInt64}, nil},
	} {
		got, err := w.Store.EventsBetween(t.Context(), w.tenant, c.between)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v: %+v, %v; want %+v", c.between, got, err, c.want)
		}
	}
	got, err := w.Store.EventsBetween(t.Context(), other, meta.Between[int64]{Before: math.MaxInt64, Size: 9})
	if err != nil || len(got) != 1 || got[0].Tenant != other {
		t.Errorf("the other tenant has %+v, %v", got, err)
	}
}

func (w world) events(after string, size int) []meta.Event {
	w.t.Helper()
	events, err := w.Store.ListEvents(w.t.Context(), w.tenant, meta.Page{After: after, Size: size})
	w.must(err)
	return events
}
