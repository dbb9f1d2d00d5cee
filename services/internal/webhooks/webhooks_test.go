package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testSecret is a secret of a webhook, and otherSecret another one.
const (
	testSecret  = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
	otherSecret = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4"
)

// world is a deployment with a clock that the test moves.
type world struct {
	*fronttest.Deployment
	t       *testing.T
	mu      sync.Mutex
	at      time.Time
	secrets *seal.Keyring
	site    tenant.Site
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, at: time.Now()}
	w.Deployment = fronttest.NewWith(t, sqlitemeta.Options{Now: w.now})
	var err error
	w.secrets, err = seal.New([]byte("the key of this deployment"))
	w.must(err)
	w.site = w.Tenant("acme", tenant.Settings{})
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// sender sends to servers on loopback.
func (w *world) sender() *Sender {
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	return New(Config{Meta: w.Meta, Secrets: w.secrets, Transport: func(string) http.RoundTripper { return transport }, Now: w.now})
}

// step makes deliveries, begins to send what is due, and waits until that has ended.
func (w *world) step(s *Sender) {
	w.t.Helper()
	w.must(s.Step(w.t.Context()))
	s.working.Wait()
}

func (w *world) webhook(site tenant.Site, slug, url string, edits ...func(*meta.Webhook)) meta.Webhook {
	w.t.Helper()
	h := meta.Webhook{Tenant: site.Tenant, Slug: slug, URL: url, Format: meta.CloudEvents, Events: []string{"manifest.*", "tag.*"}}
	for _, edit := range edits {
		edit(&h)
	}
	var err error
	h.Secret, err = w.secrets.Seal(testSecret, h.SecretName())
	w.must(err)
	h, err = w.Meta.CreateWebhook(w.t.Context(), fronttest.By(), h)
	w.must(err)
	return h
}

// push pushes an image of its own under tags.
func (w *world) push(site tenant.Site, content string, tags ...string) oci.Digest {
	w.t.Helper()
	r := fronttest.Repo(site, "app")
	w.PutBlob(r, []byte(content))
	w.PutBlob(r, []byte("{}"))
	m := ocitest.Manifest(ocitest.Empty(), ocitest.Layer([]byte(content)))
	w.PutManifest(r, m.Bytes, tags...)
	return m.Digest
}

func (w *world) deliveries(h meta.Webhook) []meta.Delivery {
	w.t.Helper()
	all, err := w.Meta.DeliveriesBetween(w.t.Context(), h, "", meta.Between[int64]{Before: 1 << 62, Size: 1000})
	w.must(err)
	return all
}

func (w *world) states(h meta.Webhook) string {
	var all []string
	for _, d := range w.deliveries(h) {
		all = append(all, string(d.State))
	}
	return strings.Join(all, " ")
}

// got is a request that a receiver got.
type got struct {
	header http.Header
	body   string
	event  cloudEvent
	at     time.Time
}

// receiver takes requests, and answers as it is told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []got
	answer http.HandlerFunc // nil: 204
	arrive func(got)        // is called first; may be nil
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		g := got{header: req.Header, body: string(body), at: time.Now()}
		_ = json.Unmarshal(body, &g.event) // the other format is not
		r.mu.Lock()
		r.got = append(r.got, g)
		answer, arrive := r.answer, r.arrive
		r.mu.Unlock()
		if arrive != nil {
			arrive(g)
		}
		if answer == nil {
			answer = status(http.StatusNoContent)
		}
		answer(rw, req)
	}))
	t.Cleanup(r.Close)
	return r
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func (r *receiver) answers(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = h
}

func (r *receiver) requests() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// pushes are the digests of the requests, in the order in which they came.
func (r *receiver) pushes() []string {
	var all []string
	for _, g := range r.requests() {
		all = append(all, g.event.Data.Digest)
	}
	return all
}

func verify(t *testing.T, g got, secret string) error {
	t.Helper()
	v, err := standard.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return v.Verify([]byte(g.body), g.header)
}

func TestW201_ReceiversVerifyWhatIsSigned(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	s := w.sender()
	h := w.webhook(w.site, "ci", r.URL)
	d := w.push(w.site, "a", "v1")
	w.step(s)
	all := r.requests()
	if len(all) != 1 {
		t.Fatalf("%d requests", len(all))
	}
	g := all[0]
	if err := verify(t, g, testSecret); err != nil {
		t.Error(err)
	}
	if verify(t, g, otherSecret) == nil {
		t.Error("another secret verifies it")
	}
	for name, changed := range map[string]got{
		"body": {header: g.header, body: g.body + " "},
		"id":   {header: with(g.header, "Webhook-Id", "msg_other"), body: g.body},
		"time": {header: with(g.header, "Webhook-Timestamp", "1"), body: g.body},
	} {
		if verify(t, changed, testSecret) == nil {
			t.Errorf("another %s is verified", name)
		}
	}
	e := g.event
	if e.SpecVersion != "1.0" || e.Type != "io.github.berth-registry.manifest.put" || e.Source != "/v1/tenants/acme" || "msg_"+e.ID != g.header.Get("webhook-id") ||
		e.Subject != "registries/main/repositories/app:v1@"+d.String() || g.header.Get("Content-Type") != cloudEventsType {
		t.Errorf("%+v %v", e, g.header)
	}
	if x := e.Data; x.Tenant != "acme" || x.Registry != "main" || x.Repository != "app" || x.Digest != d.String() || x.MediaType == "" || x.Size == 0 || len(x.Tags) != 1 || x.Tags[0].Name != "v1" || x.Tags[0].Version == 0 {
		t.Errorf("%+v", x)
	}

	// The secret before signs for a day beside the new one.
	var err error
	h.Secret, err = w.secrets.Seal(otherSecret, h.SecretName())
	w.must(err)
	h, err = w.Meta.UpdateWebhook(t.Context(), fronttest.By(), h)
	w.must(err)
	last := func() got {
		w.push(w.site, h.UpdatedAt.String(), "v2")
		w.step(s)
		all := r.requests()
		return all[len(all)-1]
	}
	if g := last(); verify(t, g, testSecret) != nil || verify(t, g, otherSecret) != nil {
		t.Errorf("both secrets verify %q", g.header.Get("webhook-signature"))
	}

	// An attempt carries its time: what was recorded is too old after 5 minutes.
	s.Now = func() time.Time { return w.now().Add(-6 * time.Minute) }
	if err := verify(t, last(), testSecret); err == nil || !strings.Contains(err.Error(), standard.ErrMessageTooOld.Error()) {
		t.Errorf("a request of 6 minutes ago: %v", err)
	}
}

func with(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	return h
}

// TestW202_NoEventIsLost has a receiver that is out for an hour, in each way, while events go on.
func TestW202_NoEventIsLost(t *testing.T) {
	down := newReceiver(t)
	down.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"is down":     nil,
		"answers 500": status(http.StatusInternalServerError),
		"redirects":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"answers much": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write(make([]byte, 1<<20))
		},
		"breaks off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			w, r := newWorld(t), newReceiver(t)
			s := w.sender()
			h := w.webhook(w.site, "ci", r.URL)
			if answer == nil {
				h.URL = down.URL
				var err error
				h, err = w.Meta.UpdateWebhook(t.Context(), fronttest.By(), h)
				w.must(err)
			}
			r.answers(answer)
			var want []string
			for i := range 6 {
				want = append(want, w.push(w.site, string(rune('a'+i)), "latest").String())
				w.step(s)
				w.advance(10 * time.Minute)
				w.step(s)
			}
			for _, d := range w.deliveries(h) {
				if d.State != meta.DeliveryPending || d.Failure == "" || len(d.Response) > maxExcerpt+100 || strings.ContainsAny(d.Response, "\x00") {
					t.Fatalf("%+v", d)
				}
			}
			tried := map[string]bool{}
			var first []string
			for _, d := range r.pushes() {
				if !tried[d] {
					first = append(first, d)
				}
				tried[d] = true
			}
			if answer != nil && !slices.Equal(first, want) {
				t.Errorf("first tried were %q, want %q", first, want)
			}
			r.answers(nil)
			if answer == nil {
				h.URL = r.URL
				_, err := w.Meta.UpdateWebhook(t.Context(), fronttest.By(), h)
				w.must(err)
			}
			for range 5 {
				w.advance(time.Hour)
				w.step(s)
			}
			all := r.pushes()
			for _, d := range want {
				if !slices.Contains(all[max(0, len(all)-len(want)):], d) {
					t.Errorf("%s was lost", d)
				}
			}
			if got := w.states(h); got != strings.TrimSpace(strings.Repeat("delivered ", len(want))) {
				t.Error(got)
			}
		})
	}
}

// TestW203_ASlowReceiverHoldsBackNoOther has one tenant's receiver hang, more events than may be in
// flight, and another tenant's receiver that answers.
func TestW203_ASlowReceiverHoldsBackNoOther(t *testing.T) {
	w, slow, r := newWorld(t), newReceiver(t), newReceiver(t)
	other := w.Tenant("other", tenant.Settings{})
	release := make(chan struct{})
	slow.answers(func(rw http.ResponseWriter, _ *http.Request) { <-release; rw.WriteHeader(http.StatusNoContent) })
	hooks := []meta.Webhook{w.webhook(w.site, "one", slow.URL), w.webhook(w.site, "two", slow.URL), w.webhook(w.site, "three", slow.URL)}
	w.webhook(other, "ci", r.URL)
	s := w.sender()
	began := time.Now()
	for i := range 10 {
		w.push(w.site, string(rune('a'+i)), string(rune('a'+i)))
	}
	for len(slow.requests()) < perTenant {
		w.must(s.Step(t.Context()))
	}
	w.must(s.Step(t.Context()))
	want := w.push(other, "b", "v1").String()
	w.must(s.Step(t.Context()))
	await.True(t, timeout/2, "the other tenant gets its event", func() bool { return slices.Equal(r.pushes(), []string{want}) })
	if n := len(slow.requests()); n != perTenant {
		t.Errorf("%d requests of one tenant are in flight, want %d", n, perTenant)
	}
	if took := time.Since(began); took > timeout {
		t.Errorf("a hanging receiver held back pushes and others for %s", took)
	}
	close(release)
	for range 10 {
		w.step(s)
	}
	for _, h := range hooks {
		if got := w.states(h); got != strings.TrimSpace(strings.Repeat("delivered ", 10)) {
			t.Errorf("%s: %s", h.Slug, got)
		}
	}
}

func TestW204_AReceiverThatIsGoneIsNotCalledAgain(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	s := w.sender()
	w.webhook(w.site, "ci", r.URL)
	r.answers(status(http.StatusGone))
	w.push(w.site, "a", "v1")
	w.step(s)
	w.push(w.site, "b", "v1")
	w.advance(time.Hour)
	w.step(s)
	if n := len(r.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
	h, err := w.Meta.FindWebhook(t.Context(), w.site.Tenant, "ci")
	w.must(err)
	if !h.Disabled || h.DisabledReason == "" || w.states(h) != "dead" {
		t.Errorf("%+v: %s", h, w.states(h))
	}
	events, err := w.Meta.ListEvents(t.Context(), w.site.Tenant, meta.Page{Size: 20})
	w.must(err)
	if !slices.ContainsFunc(events, func(e meta.Event) bool {
		return e.Verb == meta.WebhookGone && e.Actor == "webhooks/ci" && e.Target == "webhooks/ci"
	}) {
		t.Errorf("no event tells: %+v", events)
	}
}

// TestW205_TheEnvelopeOfDistribution reads notifications as their receivers do.
func TestW205_TheEnvelopeOfDistribution(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	s := w.sender()
	w.webhook(w.site, "ci", r.URL, func(h *meta.Webhook) { h.Format, h.Events = meta.DistributionNotifications, nil })
	d := w.push(w.site, "a", "v1", "latest")
	w.must(w.Meta.DeleteTag(t.Context(), fronttest.By(), fronttest.Repo(w.site, "app"), "latest"))
	_, err := w.Meta.CreateAccount(t.Context(), fronttest.By(), meta.Account{Tenant: w.site.Tenant, Slug: "ci", Role: access.Reader}) // it has no words for this
	w.must(err)
	w.step(s)
	w.step(s)
	var told []string
	for _, g := range r.requests() {
		if g.header.Get("Content-Type") != distributionType || verify(t, g, testSecret) != nil {
			t.Errorf("%v", g.header)
		}
		var e envelope
		w.must(json.Unmarshal([]byte(g.body), &e))
		for _, n := range e.Events {
			what := n.Action + " " + n.Target.Repository
			if n.Target.Tag != "" {
				what += ":" + n.Target.Tag
			}
			if n.Target.MediaType != "" {
				what += " " + n.Target.Digest
			}
			told = append(told, what)
		}
	}
	slices.Sort(told)
	want := []string{"delete app:latest", "push app", "push app", "push app:latest " + d.String(), "push app:v1 " + d.String()}
	if !slices.Equal(told, want) {
		t.Errorf("%q, want %q", told, want)
	}
}

// TestW206_KilledBetweenDeliveryAndRecord has two senders, of which one ends after the receiver has
// answered and before that is recorded.
func TestW206_KilledBetweenDeliveryAndRecord(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	h := w.webhook(w.site, "ci", r.URL)
	var want []string
	for i := range 5 {
		want = append(want, w.push(w.site, string(rune('a'+i)), "latest").String())
	}
	killed, other := w.sender(), w.sender()
	killed.Meta = unrecorded{w.Meta}
	w.step(killed)
	w.step(other) // the claim of the killed one lasts
	if got := r.pushes(); !slices.Equal(got, want[:1]) {
		t.Errorf("%q, want %q", got, want[:1])
	}
	w.advance(hold)
	for range want {
		w.step(other)
	}
	if got := r.pushes(); !slices.Equal(got, append([]string{want[0]}, want...)) {
		t.Errorf("%q, want the first twice: %q", got, want)
	}
	all := r.requests()
	if all[0].header.Get("webhook-id") != all[1].header.Get("webhook-id") || all[1].header.Get("webhook-id") == all[2].header.Get("webhook-id") || all[0].body != all[1].body {
		t.Error("an event that comes again is another one")
	}
	if got := w.states(h); got != "delivered delivered delivered delivered delivered" {
		t.Error(got)
	}
}

// unrecorded is a store that is away when results are recorded.
type unrecorded struct{ meta.WebhookDeliveries }

// RecordAttempt implements meta.WebhookDeliveries.
func (unrecorded) RecordAttempt(context.Context, meta.Delivery, uuid.UUID, meta.DeliveryResult) (bool, error) {
	return false, errors.New("killed")
}

func TestW201_SecretsAreThoseOfTheStandard(t *testing.T) {
	for secret, good := range map[string]bool{
		testSecret: true, "": false, "whsec_": false, strings.TrimPrefix(testSecret, "whsec_"): false,
		"whsec_dG9vIHNob3J0": false, "whsec_" + strings.Repeat("AAAA", 22): false, testSecret + "!": false,
	} {
		if err := CheckSecret(secret); (err == nil) != good {
			t.Errorf("%q: %v", secret, err)
		}
	}
}
