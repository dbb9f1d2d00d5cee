package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
)

// TestU86_FilesMayBeMovedAway moves the file away between two writes, and leaves one as a
// process that was killed does.
func TestU86_FilesMayBeMovedAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(`{"unfin`), 0o600); err != nil {
		t.Fatal(err)
	}
	sink, err := OpenSink("file:"+path, "", noAddress)
	if err != nil {
		t.Fatal(err)
	}
	write := func(line string) {
		t.Helper()
		if err := sink.Write(t.Context(), []byte(line+"\n")); err != nil {
			t.Fatal(err)
		}
	}
	write("1")
	write("2")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("3")
	for name, want := range map[string]string{path + ".1": "{\"unfin\n1\n2\n", path: "3\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}

// noAddress denies none.
func noAddress(netip.Addr) bool { return false }

// receiver is a webhook that refuses its first requests.
type receiver struct {
	mu     sync.Mutex
	refuse int
	auth   []string
	verbs  []string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.auth = append(r.auth, req.Header.Get("Authorization"))
	if r.refuse > 0 {
		r.refuse--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	for lines := bufio.NewScanner(req.Body); lines.Scan(); {
		var e Record
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			r.verbs = append(r.verbs, e.Tenant+" "+e.Verb)
		}
	}
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.verbs)
}

// TestU85_EventsReachAWebhook sends events by two processes to a webhook that fails at
// first.
func TestU85_EventsReachAWebhook(t *testing.T) {
	store, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	hook := &receiver{refuse: 2}
	server := httptest.NewServer(hook)
	t.Cleanup(server.Close)
	sink, err := OpenSink(server.URL, "secret", noAddress)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	leases := lease.NewMemory()
	if err := Keep(ctx, store); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var senders []*Deliverer
	for range 2 {
		d := NewDeliverer(store, sink, leases, slog.New(slog.DiscardHandler))
		d.poll = time.Millisecond
		senders = append(senders, d)
		running.Go(func() { d.Run(ctx) })
	}
	var want []string
	for range 2 * perBatch {
		if err := store.RecordEvent(ctx, meta.Cause{Op: uuid.New(), Actor: "operator"}, meta.BackupCreated, "backups/1"); err != nil {
			t.Fatal(err)
		}
		want = append(want, " backup.create")
	}
	await.True(t, 20*time.Second, "the events reach the webhook", func() bool {
		pending, err := store.PendingEvents(ctx, 1)
		return err == nil && len(pending) == 0
	})
	cancel()
	running.Wait()
	if got := hook.got(); !slices.Equal(got, want) {
		t.Errorf("%d events came, want %d", len(got), len(want))
	}
	if hook.auth[0] != "Bearer secret" || senders[0].Failed()+senders[1].Failed() != 2 || senders[0].Sent()+senders[1].Sent() != int64(len(want)) {
		t.Errorf("credential %q; %d and %d failed", hook.auth[0], senders[0].Failed(), senders[1].Failed())
	}
}

// TestU85_WebhooksLeadNowhereElse follows no redirect, and shows no URL in an error.
func TestU85_WebhooksLeadNowhereElse(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was followed") }))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	for at, want := range map[string]string{
		server.URL + "/secret-path":          "307",
		"http://169.254.169.254/secret-path": "an audit sink is not at",
		"http://192.0.2.7/secret-path":       "an audit sink is not at",
		"http://127.0.0.1:1/secret-path":     "refused",
	} {
		sink, err := OpenSink(at, "", func(at netip.Addr) bool { return at == netip.MustParseAddr("192.0.2.7") })
		if err != nil {
			t.Fatal(err)
		}
		err = sink.Write(t.Context(), []byte("{}\n"))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret-path") {
			t.Errorf("%s: %v", at, err)
		}
	}
	server.Close()
}

// TestU87_PullsNeverWait tells of more pulls than a sink that stands still takes.
func TestU87_PullsNeverWait(t *testing.T) {
	var none *Pulls
	none.Add(Record{})
	out, in := io.Pipe()
	p := NewPulls(&stream{to: in}, slog.New(slog.DiscardHandler))
	for range maxPulls + 100 {
		p.Add(Record{Verb: "blob.pull"})
	}
	if p.Dropped() != 100 {
		t.Errorf("%d are dropped", p.Dropped())
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx); _ = in.Close() })
	lines := 0
	for text := bufio.NewScanner(out); text.Scan(); {
		if lines++; lines == 1000 {
			cancel() // what waits is sent
		}
	}
	running.Wait()
	if lines != maxPulls {
		t.Errorf("%d pulls came, of %d", lines, maxPulls)
	}
	cancel()
}
