package admin

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
)

// TestW80_TheOperatorStartsWatchesAndStopsTheScrub.
func TestW80_TheOperatorStartsWatchesAndStopsTheScrub(t *testing.T) {
	a := newAPI(t)
	state := func(method, path, body, want string) map[string]any {
		t.Helper()
		got := a.call(200, method, path, body)
		if got["name"] != "scrub" || got["state"] != want {
			t.Errorf("%s %s: %v, want %s", method, path, got, want)
		}
		return got
	}
	state("GET", "/v1/scrub", "", "IDLE")
	first := state("POST", "/v1/scrub:start", `{}`, "RUNNING")
	if again := state("POST", "/v1/scrub:start", `{}`, "RUNNING"); again["round"] != first["round"] || first["start_time"] == nil {
		t.Errorf("%v, then %v", first, again)
	}
	worker := uuid.New()
	at, mine, err := a.store.ClaimScrub(t.Context(), worker, 0, time.Minute)
	if err != nil || !mine {
		t.Fatal(mine, err)
	}
	at.Cursor, at.Objects, at.Bytes, at.Found, at.Repaired = blob.Key{Tenant: 1}, 4, 3, 2, 1
	if ok, err := a.store.AdvanceScrub(t.Context(), worker, at, time.Minute, false); err != nil || !ok {
		t.Fatal(ok, err)
	}
	stopped := state("POST", "/v1/scrub:stop", `{}`, "STOPPED")
	if stopped["objects"] != "4" || stopped["bytes"] != "3" || stopped["found"] != "2" || stopped["repaired"] != "1" {
		t.Errorf("%v", stopped)
	}
	if on := state("POST", "/v1/scrub:start", `{}`, "RUNNING"); on["round"] != first["round"] || on["objects"] != "4" {
		t.Errorf("it continues as %v", on)
	}
	if whole := state("POST", "/v1/scrub:start", `{"whole": true}`, "RUNNING"); whole["round"] == first["round"] || whole["objects"] == "4" {
		t.Errorf("a whole round begins as %v", whole)
	}
	verbs := map[string]int{}
	events, err := a.store.ListEvents(t.Context(), meta.Deployment, meta.Page{Size: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		verbs[e.Verb+" "+e.Target]++
	}
	if verbs["scrub.start scrub"] != 4 || verbs["scrub.stop scrub"] != 1 {
		t.Errorf("events %v", verbs)
	}
}
