package admin

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/seal"
)

func newRing(t *testing.T, keys ...string) *seal.Keyring {
	t.Helper()
	raw := make([][]byte, len(keys))
	for i, k := range keys {
		raw[i] = []byte(k)
	}
	ring, err := seal.New(raw...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

const (
	keyOfTests = "the secret key of the tests"
	nextKey    = "the next key of the tests"
)

// A password that was moved to another upstream does not open there, and keeps
// no one else's from being sealed again.
func TestC13_AMovedPasswordIsLeftAlone(t *testing.T) {
	a := withPassword(t)
	for _, slug := range []string{"aaa", "zzz"} {
		a.call(200, "POST", upstreams+"?upstream_id="+slug, `{"url": "https://ghcr.io", "username": "robot", "password": "`+upstreamPassword+`"}`)
	}
	moved := a.upstream("acme", "aaa")
	moved.Settings.Password = a.upstream("acme", "zzz").Settings.Password
	if _, err := a.store.UpdateUpstream(t.Context(), meta.Cause{Op: uuid.New(), Actor: "somebody with the database"}, moved, false); err != nil {
		t.Fatal(err)
	}
	a.service.secrets = newRing(t, nextKey, keyOfTests)
	n, err := a.service.Reseal(t.Context())
	if n != 2 || err == nil || !strings.Contains(err.Error(), "tenants/acme/upstreams/aaa") || strings.Contains(err.Error(), "ghcr") {
		t.Errorf("%d sealed again, %v", n, err)
	}
	if got := a.kept(); got != upstreamPassword {
		t.Errorf("ghcr has %q", got)
	}
	events := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/events", "")["events"])
	if !strings.Contains(events, "upstream.update") || strings.Contains(events, "actor:anonymous") {
		t.Errorf("events %s", events)
	}
}

// racing lets others change or delete an upstream between the look at it and the
// update.
type racing struct {
	testStore
	meanwhile func()
}

func (r racing) UpdateUpstream(ctx context.Context, by meta.Cause, u meta.Upstream, renew bool) (meta.Upstream, error) {
	r.meanwhile()
	return r.testStore.UpdateUpstream(ctx, by, u, renew)
}

func TestResealYieldsToOthers(t *testing.T) {
	for name, meanwhile := range map[string]func(a *api){
		"changed": func(a *api) { a.call(200, "PATCH", upstreams+"/ghcr", `{"password": "set meanwhile"}`) },
		"deleted": func(a *api) { a.call(200, "DELETE", upstreams+"/ghcr", "") },
	} {
		t.Run(name, func(t *testing.T) {
			a := withPassword(t)
			other, err := New(Config{
				Store: racing{a.store, func() { meanwhile(a) }}, OperatorToken: operatorToken, PageKey: []byte("page key of the tests"),
				Secrets: newRing(t, nextKey, keyOfTests),
			})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := other.Reseal(t.Context()); n != 0 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			if name == "changed" && a.kept() != "set meanwhile" {
				t.Errorf("what was set meanwhile is %q now", a.kept())
			}
		})
	}
}

// A purge that looked at the upstream before someone else changed it does not
// undo that.
func TestPurgeUndoesNothing(t *testing.T) {
	a := withPassword(t)
	purging := serveAPI(t, racing{a.store, func() { a.call(200, "PATCH", upstreams+"/ghcr", `{"username": "", "password": ""}`) }})
	purging.call(409, "POST", upstreams+"/ghcr:purge", "{}")
	if a.kept() != "" {
		t.Error("the password that was removed meanwhile is back")
	}
}
