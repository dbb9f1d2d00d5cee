package metatest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testWebhookDeliveries tests how events become deliveries, and who sends them.
func testWebhookDeliveries(t *testing.T, open Open) {
	t.Run("W192 are made of the events of tenants with webhooks", func(t *testing.T) { testMakeDeliveries(t, open) })
	t.Run("W193 of one tag are given in its order", func(t *testing.T) { testTagOrder(t, open) })
	t.Run("W193 of one tag keep its order beside each other", func(t *testing.T) { testTagOrderRace(t, open) })
	t.Run("W194 are claimed for a while", func(t *testing.T) { testClaimDeliveries(t, open) })
	t.Run("W195 are bounded", func(t *testing.T) { testDeliveryBounds(t, open) })
	t.Run("W196 are sent once more on request", func(t *testing.T) { testRedeliver(t, open) })
}

func testMakeDeliveries(t *testing.T, open Open) {
	w := newWorld(t, open)
	other, _ := w.addTenant("other", 0)
	r := w.repo("team/app")
	w.pushTagged(r, "before", "v0")
	if n := w.makeDeliveries(); n != 0 {
		t.Errorf("%d deliveries without a webhook", n)
	}
	all := w.addWebhook(w.webhook("all"))
	w.makeDeliveries()
	some := w.webhook("some")
	some.Events, some.Registry, some.Repositories = []string{"manifest.*", "*.delete"}, tenant.MainRegistry, []string{"team/**"}
	some = w.addWebhook(some)
	idle := w.webhook("idle")
	idle.Disabled = true
	idle = w.addWebhook(idle)
	foreign := w.webhook("foreign")
	foreign.Tenant = other
	foreign = w.addWebhook(foreign)
	d := w.pushTagged(r, "a", "v1", "latest")
	w.pushTagged(w.repo("elsewhere"), "b", "v1")
	w.must(w.Store.DeleteTag(t.Context(), cause(), r, "latest"))
	w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{By: cause(), Repo: r, Digest: d}))
	w.addAccount("ci", access.Reader)
	w.must(w.Store.DeleteWebhook(t.Context(), cause(), w.tenant, "idle", 0))
	w.makeDeliveries()
	if n := w.makeDeliveries(); n != 0 {
		t.Errorf("%d deliveries were made twice", n)
	}
	app := "registries/main/repositories/team/app"
	w.sameDeliveries(some,
		"manifest.put "+app+":latest,v1@"+d.String()+" latest="+w.version(r, "latest", 1)+" v1="+w.version(r, "v1", 1),
		"tag.delete "+app+":latest latest="+w.version(r, "latest", 0),
		"manifest.delete "+app+"@"+d.String()+" v1="+w.version(r, "v1", 0),
	)
	got := w.verbs(all)
	if want := []string{"webhook.create", "webhook.create", "blob.push", "manifest.put", "blob.push", "manifest.put", "tag.delete", "manifest.delete", "serviceAccount.create", "webhook.delete"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if len(w.deliveries(idle)) != 0 {
		t.Error("a disabled webhook has deliveries")
	}
	if got := w.verbs(foreign); len(got) != 0 { // nor of its own creation
		t.Errorf("of another tenant: %q", got)
	}
}

func testTagOrder(t *testing.T, open Open) {
	w := newWorld(t, open)
	h := w.webhook("ci")
	h.Events = []string{"manifest.put"}
	h = w.addWebhook(h)
	r := w.repo("app")
	w.pushTagged(r, "1", "latest", "v1")
	w.pushTagged(r, "2", "latest")
	w.pushTagged(r, "3", "v1")
	w.pushTagged(r, "4", "other")
	w.makeDeliveries()
	due := func(want ...string) []meta.Delivery {
		t.Helper()
		claimed, _ := w.claimDeliveries(h)
		var got []string
		for _, d := range claimed {
			got = append(got, d.Target[strings.IndexByte(d.Target, ':')+1:strings.IndexByte(d.Target, '@')])
		}
		if !slices.Equal(got, want) {
			t.Fatalf("given are %q, want %q", got, want)
		}
		return claimed
	}
	due("latest,v1", "other")
	due() // what is in flight holds back the rest of its tags
	w.Advance(time.Minute)
	first := due("latest,v1", "other") // their claims have ended: no result is known
	if recorded, err := w.Store.RecordAttempt(t.Context(), first[0], uuid.New(), meta.DeliveryResult{State: meta.DeliveryDelivered}); err != nil || recorded {
		t.Errorf("a result is recorded without the claim: %v", err)
	}
	w.Advance(time.Minute)
	claimed, claim := w.claimDeliveries(h)
	if len(claimed) != 2 {
		t.Fatalf("%+v", claimed)
	}
	w.recordAttempt(claimed[0], claim, meta.DeliveryResult{State: meta.DeliveryPending, After: time.Hour, Failure: "it is out"})
	w.recordAttempt(claimed[1], claim, meta.DeliveryResult{State: meta.DeliveryDelivered, Status: 204})
	due() // a failing one holds back its tags
	w.Advance(meta.TagHold)
	second := due("latest", "v1") // but not for long
	if second[0].Attempts != 0 || second[0].Op == first[0].Op {
		t.Errorf("%+v", second)
	}
	w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
	w.consistent()
}

// testTagOrderRace moves one tag by several pushes at once, while two processes make deliveries,
// and two send them, some of which never record it.
func testTagOrderRace(t *testing.T, open Open) {
	const pushers, pushes = 8, 5
	const all = pushers * pushes
	w := newWorld(t, open)
	h := w.webhook("ci")
	h.Events = []string{"manifest.put"}
	h = w.addWebhook(h)
	r := w.repo("app")
	for i := range all {
		w.push(r, fmt.Sprint("layer ", i))
	}
	var mu sync.Mutex
	var first []string // versions of the tag, as they were first sent
	seen := map[string]int{}
	send := func() error {
		claim := uuid.New()
		claimed, err := w.Store.ClaimDeliveries(t.Context(), h.Tenant, h.ID, claim, time.Minute, 3)
		for _, d := range claimed {
			mu.Lock()
			if seen[d.Body]++; seen[d.Body] == 1 {
				first = append(first, d.Body[strings.LastIndexByte(d.Body, '=')+1:])
			}
			killed := seen[d.Body] == 1 && len(first)%4 == 0
			mu.Unlock()
			if killed {
				continue // after the receiver got it
			}
			if _, err := w.Store.RecordAttempt(t.Context(), d, claim, meta.DeliveryResult{State: meta.DeliveryDelivered}); err != nil {
				return err
			}
		}
		return err
	}
	fill := func(limit int) func() error {
		return func() error {
			_, err := w.Store.MakeDeliveries(t.Context(), 0, limit, meta.DeliveryBacklog, render)
			return err
		}
	}
	var pushing, working sync.WaitGroup
	for p := range pushers {
		pushing.Go(func() {
			for i := range pushes {
				w.pushTagged(r, fmt.Sprint("layer ", p*pushes+i), "latest")
			}
		})
	}
	busy, stop := context.WithCancel(t.Context())
	for _, work := range []func() error{fill(1), fill(3), send, send} {
		working.Go(func() {
			for busy.Err() == nil {
				if err := work(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	pushing.Wait()
	stop()
	working.Wait()
	for range 2 * all {
		w.makeDeliveries()
		w.must(send())
		w.Advance(time.Minute)
	}
	if len(first) != all || !slices.IsSorted(first) {
		t.Errorf("%d of %d versions were first sent as %q", len(first), all, first)
	}
	if got := w.states(h); got != strings.TrimSpace(strings.Repeat("delivered ", all)) {
		t.Error(got)
	}
	w.consistent()
}

func testClaimDeliveries(t *testing.T, open Open) {
	w := newWorld(t, open)
	h := w.addWebhook(w.webhook("ci"))
	for i := range 3 {
		w.addAccount(fmt.Sprint("ci", i), access.Reader)
	}
	w.makeDeliveries()
	w.waits(h.ID, true)
	one, other := uuid.New(), uuid.New()
	claim := func(by uuid.UUID, limit int) []meta.Delivery {
		got, err := w.Store.ClaimDeliveries(t.Context(), w.tenant, h.ID, by, time.Minute, limit)
		w.must(err)
		return got
	}
	first, rest := claim(one, 1), claim(other, 10)
	if len(first) != 1 || len(rest) != 2 || first[0].ID >= rest[0].ID {
		t.Fatalf("%+v %+v", first, rest)
	}
	if len(claim(uuid.New(), 10)) != 0 {
		t.Error("a delivery was given twice")
	}
	w.waits(h.ID, false)
	w.Advance(time.Minute)
	again := claim(other, 1)
	if len(again) != 1 || again[0].Op != first[0].Op || again[0].Message() != first[0].Message() {
		t.Fatalf("%+v", again)
	}
	delivered := meta.DeliveryResult{State: meta.DeliveryDelivered, Status: 200, Response: "thanks"}
	if recorded, err := w.Store.RecordAttempt(t.Context(), first[0], one, delivered); err != nil || recorded {
		t.Errorf("the claim before recorded a result: %v", err)
	}
	w.recordAttempt(again[0], other, delivered)
	d, err := w.Store.FindDelivery(t.Context(), h, again[0].ID)
	w.must(err)
	if d.State != meta.DeliveryDelivered || d.Attempts != 1 || d.Status != 200 || d.Response != "thanks" || !d.TriedAt.Equal(w.Now()) || !d.Until.Equal(w.Now().Add(meta.DeliveredKept)) {
		t.Errorf("%+v", d)
	}
	_, err = w.Store.FindDelivery(t.Context(), h, 4711)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	for state, want := range map[meta.DeliveryState]int{"": 3, meta.DeliveryDelivered: 1, meta.DeliveryPending: 2, meta.DeliveryDead: 0} {
		for _, descending := range []bool{false, true} {
			got, err := w.Store.DeliveriesBetween(t.Context(), h, state, meta.Between[int64]{Before: math.MaxInt64, Descending: descending, Size: 10})
			if err != nil || len(got) != want || want > 1 && (got[0].ID > got[1].ID) != descending {
				t.Errorf("%s: %+v, %v", state, got, err)
			}
		}
	}
	for _, gone := range []struct{ change, back func() error }{
		{func() error { return w.Store.DisableWebhook(t.Context(), cause(), h, "gone") }, func() error {
			h, err := w.Store.FindWebhook(t.Context(), w.tenant, "ci")
			w.must(err)
			if !h.Disabled || h.DisabledReason != "gone" {
				t.Errorf("%+v", h)
			}
			h.Disabled = false
			_, err = w.Store.UpdateWebhook(t.Context(), cause(), h)
			return err
		}},
		{func() error { return w.setState(tenant.Suspended) }, func() error { return w.setState(tenant.Active) }},
	} {
		w.must(gone.change())
		if _, found, err := w.Store.FindClaimable(t.Context(), w.tenant, h.ID); err != nil || found {
			t.Errorf("it may be called: %v", err)
		}
		w.must(gone.back())
		if c, found, err := w.Store.FindClaimable(t.Context(), w.tenant, h.ID); err != nil || !found || c.TenantSlug != "acme" || c.Slug != "ci" {
			t.Errorf("it may not be called: %+v, %v", c, err)
		}
	}
}

func testDeliveryBounds(t *testing.T, open Open) {
	w := newWorld(t, open)
	h := w.addWebhook(w.webhook("ci"))
	for i := range 5 {
		w.addAccount(fmt.Sprint("ci", i), access.Reader)
	}
	made, err := w.Store.MakeDeliveries(t.Context(), 0, 3, 2, render)
	w.must(err)
	if made != (meta.MadeDeliveries{Tenant: w.tenant, Events: 3, Made: 3, Dropped: 1}) {
		t.Errorf("%+v", made)
	}
	for made.Tenant != 0 {
		made, err = w.Store.MakeDeliveries(t.Context(), 0, 3, 2, render)
		w.must(err)
	}
	if got, want := w.states(h), "dead dead dead pending pending"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.told("webhook.drop webhooks/ci", "serviceAccount.create serviceAccounts/ci4") // once an hour, and to no webhook
	_, err = w.Store.TrimDeliveries(t.Context(), 1000, 3)
	w.must(err)
	if got, want := w.states(h), "dead pending pending"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.Advance(meta.DeliveryTime)
	if claimed, _ := w.claimDeliveries(h); len(claimed) != 0 {
		t.Errorf("after a day: %+v", claimed)
	}
	trim := func() {
		t.Helper()
		_, err := w.Store.TrimDeliveries(t.Context(), 1000, meta.DeliveryLog)
		w.must(err)
	}
	trim()
	if got, want := w.states(h), "dead dead dead"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.Advance(meta.DeadKept)
	trim()
	if got := w.states(h); got != "" {
		t.Errorf("%s are kept", got)
	}
	w.pushTagged(w.repo("app"), "a", "v1")
	w.makeDeliveries()
	w.must(w.Store.DeleteWebhook(t.Context(), cause(), w.tenant, "ci", 0))
	w.makeDeliveries()
	trim()
	if got := w.states(h); got != "" {
		t.Errorf("%s are left of a deleted webhook", got)
	}
	w.waits(uuid.Nil, false)
	w.consistent()
}

func testRedeliver(t *testing.T, open Open) {
	w := newWorld(t, open)
	other, _ := w.addTenant("other", 0)
	h := w.addWebhook(w.webhook("ci"))
	w.pushTagged(w.repo("app"), "a", "v1")
	w.makeDeliveries()
	claimed, claim := w.claimDeliveries(h)
	for _, d := range claimed {
		w.recordAttempt(d, claim, meta.DeliveryResult{State: meta.DeliveryDead, Status: 410, Failure: "gone"})
	}
	d := claimed[len(claimed)-1]
	w.Advance(time.Hour)
	foreign := h
	foreign.Tenant = other
	_, err := w.Store.Redeliver(t.Context(), cause(), foreign, d.ID)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	again, err := w.Store.Redeliver(t.Context(), cause(), h, d.ID)
	w.must(err)
	if again.State != meta.DeliveryPending || again.Body != d.Body || again.Op != d.Op || again.Attempts != 1 || !again.Until.Equal(w.Now().Add(meta.DeliveryTime)) {
		t.Errorf("%+v", again)
	}
	w.told("webhook.redeliver webhooks/ci")
	if claimed, _ := w.claimDeliveries(h); len(claimed) != 1 || claimed[0].ID != d.ID {
		t.Errorf("%+v", claimed)
	}
}

// version is that which a tag got by its last change but so many.
func (w world) version(r meta.Repo, tag string, ago int) string {
	w.t.Helper()
	history, err := w.Store.ListTagHistory(w.t.Context(), r, tag, meta.Page{Size: 10})
	w.must(err)
	return fmt.Sprint(history[ago].Version)
}

// setState suspends or resumes the tenant.
func (w world) setState(s tenant.State) error {
	change := w.acme()
	change.State = s
	_, err := w.Store.UpdateTenant(w.t.Context(), cause(), change)
	return err
}

// render has of an event what tests compare.
func render(_ *meta.Webhook, e *meta.HookedEvent) (string, string, bool) {
	var tags []string
	for _, tag := range e.Tags {
		tags = append(tags, fmt.Sprintf("%s=%d", tag.Name, tag.Version))
	}
	return "text/plain", strings.Join(append([]string{e.Verb, e.Target}, tags...), " "), true
}

// makeDeliveries makes those of all events, and says how many.
func (w world) makeDeliveries() int {
	w.t.Helper()
	n := 0
	for after := tenant.ID(0); ; {
		made, err := w.Store.MakeDeliveries(w.t.Context(), after, 100, meta.DeliveryBacklog, render)
		w.must(err)
		if made.Tenant == 0 {
			return n
		}
		after, n = made.Tenant, n+made.Made
	}
}

func (w world) deliveries(h meta.Webhook) []meta.Delivery {
	w.t.Helper()
	all, err := w.Store.DeliveriesBetween(w.t.Context(), h, "", meta.Between[int64]{Before: math.MaxInt64, Size: 100})
	w.must(err)
	return all
}

func (w world) sameDeliveries(h meta.Webhook, want ...string) {
	w.t.Helper()
	var got []string
	for _, d := range w.deliveries(h) {
		got = append(got, d.Body)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("deliveries\n%q\nwant\n%q", got, want)
	}
}

func (w world) verbs(h meta.Webhook) []string {
	var all []string
	for _, d := range w.deliveries(h) {
		all = append(all, d.Verb)
	}
	return all
}

func (w world) states(h meta.Webhook) string {
	var all []string
	for _, d := range w.deliveries(h) {
		all = append(all, string(d.State))
	}
	return strings.Join(all, " ")
}

func (w world) claimDeliveries(h meta.Webhook) ([]meta.Delivery, uuid.UUID) {
	w.t.Helper()
	claim := uuid.New()
	claimed, err := w.Store.ClaimDeliveries(w.t.Context(), h.Tenant, h.ID, claim, time.Minute, 100)
	w.must(err)
	return claimed, claim
}

func (w world) recordAttempt(d meta.Delivery, claim uuid.UUID, r meta.DeliveryResult) {
	w.t.Helper()
	recorded, err := w.Store.RecordAttempt(w.t.Context(), d, claim, r)
	w.must(err)
	if !recorded {
		w.t.Errorf("%+v is not recorded", r)
	}
}

// waits compares which webhook has deliveries that wait, and whether one is due.
func (w world) waits(id uuid.UUID, due bool) {
	w.t.Helper()
	next, err := w.Store.NextWaiting(w.t.Context(), meta.WaitingWebhook{})
	w.must(err)
	if next.Webhook != id || next.Due != due {
		w.t.Errorf("%+v waits, want %s %t", next, id, due)
	}
	if next, err = w.Store.NextWaiting(w.t.Context(), next); err != nil || id != uuid.Nil && next.Webhook != uuid.Nil {
		w.t.Errorf("%+v waits, too: %v", next, err)
	}
}
