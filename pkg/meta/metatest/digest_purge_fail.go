package metatest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// testFailingPurge has a purge fail each time: the tenant is charged for less than the blob
// that it ends. Another tenant's purge failed once, after it.
func testFailingPurge(t *testing.T, open Open) {
	w := newWorld(t, open)
	other := w
	other.tenant, other.registry = w.addTenant("other", 0)
	secret := digestOf("secret")
	charge := func(of world, bytes string) {
		t.Helper()
		w.must(w.SQL.Exec(fmt.Sprintf(`UPDATE usage SET used = %s WHERE tenant_id = %d`, bytes, of.tenant)))
	}
	all := func(of world) string {
		return fmt.Sprintf(`(SELECT sum(size) FROM blobs WHERE tenant_id = %d)`, of.tenant)
	}
	running := func(of world) bool {
		t.Helper()
		state, err := of.Store.FindPurge(t.Context(), of.tenant, secret)
		w.must(err)
		return state.Running
	}
	trashed := other.pushImage(other.repo("app"), "old", "old")
	old := other.objectOf(other.repo("app"), "old")
	w.must(other.tryDelete(other.repo("app"), trashed.Digest))
	for _, of := range []world{w, other} {
		of.pushImage(of.repo("app"), "v1", "secret")
		charge(of, "0")
		if _, err := of.tryPurge(secret, true); err == nil || !running(of) {
			t.Fatalf("the purge that is to fail: %v", err)
		}
		w.Advance(time.Second)
	}
	charge(other, all(other))

	w.Advance(meta.DefaultLifetimes.Undelete + meta.DefaultLifetimes.Grace)
	failures := 0
	for range 20 { // a pass ends with an error, and the next one comes half a minute later
		n, err := w.Store.PurgeDeleted(t.Context(), 10)
		if err != nil {
			failures++
			w.Advance(30 * time.Second)
		} else if n == 0 {
			break
		}
	}
	if failures == 0 || !running(w) || running(other) {
		t.Errorf("%d failures; the one that fails is running: %t, the other one: %t", failures, running(w), running(other))
	}
	charge(w, all(w))
	for _, phase := range []func(context.Context, int) (int, error){w.Store.UnlinkBlobs, w.Store.DropBlobs} {
		w.Advance(time.Second)
		w.twice(phase)
	}
	if state := w.objects()[old]; state != 'D' {
		t.Errorf("what was only in the trash is in state %c", state)
	}
	w.Advance(time.Hour)
	w.collect()
	other.erased(secret)
	w.erased(secret)
}
