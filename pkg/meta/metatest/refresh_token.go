package metatest

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// refreshLife is how long refresh tokens of the tests last.
const refreshLife = time.Hour

// addRefresh keeps a token of the account, with a key, under its name's hash.
func (w world) addRefresh(p access.Principal, name string) {
	w.t.Helper()
	r := meta.RefreshToken{Name: name, Hash: sha256.Sum256([]byte(name)), Key: p.Key, Seed: []byte{1}, Client: "docker", CreatedFrom: "192.0.2.1"}
	w.must(w.Store.CreateRefreshToken(w.t.Context(), p, r, refreshLife))
}

// refreshes fails the test unless exactly these of the tokens get tokens.
func (w world) refreshes(what string, want map[string]bool) {
	w.t.Helper()
	for name, good := range want {
		l, r, err := w.Store.FindAccountByRefreshToken(w.t.Context(), w.tenant, sha256.Sum256([]byte(name)))
		if good && (err != nil || r.Name != name || l.Key != r.Key || l.Tenant != w.tenant) {
			w.t.Errorf("%s: %s: %+v, %v", what, name, r, err)
		}
		if !good && !fault.Is(err, fault.ResourceUnknown) {
			w.t.Errorf("%s: %s: %v", what, name, err)
		}
	}
}

// testRefreshTokens: they last after their last use, and end with their key or password, by
// name, and with all tokens of their account.
func testRefreshTokens(t *testing.T, open Open) {
	w := newWorld(t, open)
	ctx := t.Context()
	alice := w.addUser("alice")
	w.addAccount("ci", access.Writer)
	w.addKey("k", "secret")
	login, err := w.Store.FindAccountByKey(ctx, w.tenant, "ci", sha256.Sum256([]byte("secret")))
	w.must(err)
	ci := login.Principal()

	w.addRefresh(alice.Principal(), "a1")
	w.addRefresh(ci, "c1")
	w.refreshes("at first", map[string]bool{"a1": true, "c1": true, "none": false})
	if r, err := w.Store.FindRefreshTokenOfKey(ctx, ci, "docker"); err != nil || r.Name != "c1" || string(r.Seed) != "\x01" {
		t.Errorf("of the key: %+v, %v", r, err)
	}
	if _, err := w.Store.FindRefreshTokenOfKey(ctx, ci, "oras"); !fault.Is(err, fault.ResourceUnknown) {
		t.Errorf("of another client: %v", err)
	}
	other, _ := w.addTenant("other", 0)
	if _, _, err := w.Store.FindAccountByRefreshToken(ctx, other, sha256.Sum256([]byte("a1"))); !fault.Is(err, fault.ResourceUnknown) {
		t.Errorf("of another tenant: %v", err)
	}

	w.Advance(refreshLife - time.Second)
	w.must(w.Store.UseRefreshToken(ctx, ci, "c1", "192.0.2.2", refreshLife))
	w.Advance(2 * time.Second)
	w.refreshes("after a life", map[string]bool{"a1": false, "c1": true})
	list, err := w.Store.ListRefreshTokens(ctx, w.tenant, access.ServiceKind, "ci")
	if err != nil || len(list) != 1 || list[0].LastUsedFrom != "192.0.2.2" || list[0].CreatedFrom != "192.0.2.1" || !list[0].LastUsedAt.After(list[0].CreatedAt) {
		t.Errorf("listed: %+v, %v", list, err)
	}
	if n, err := w.Store.TrimTokens(ctx, 100); err != nil || n != 1 {
		t.Errorf("%d removed, %v", n, err)
	}

	w.addRefresh(alice.Principal(), "a2")
	for _, off := range []bool{true, false} {
		change := w.acme()
		change.NoPasswords = off
		_, err := w.Store.UpdateTenant(ctx, cause(), change)
		w.must(err)
		w.refreshes(fmt.Sprintf("no passwords: %t", off), map[string]bool{"a2": !off, "c1": true})
	}
	alice.Role = access.Reader
	alice, err = w.Store.UpdateAccount(ctx, cause(), alice)
	w.must(err)
	w.refreshes("another role", map[string]bool{"a2": true})
	before := alice.Principal()
	alice.Password = "$argon2id$two"
	alice, err = w.Store.UpdateAccount(ctx, cause(), alice)
	w.must(err)
	w.refreshes("another password", map[string]bool{"a2": false})
	w.refused(w.Store.CreateRefreshToken(ctx, before, meta.RefreshToken{Name: "late", Client: "docker"}, refreshLife), fault.NotFound, fault.ResourceUnknown)
	w.addRefresh(alice.Principal(), "a3")
	w.must(w.Store.RevokeTokens(ctx, cause(), w.tenant, access.UserKind, "alice"))
	w.refreshes("all revoked", map[string]bool{"a3": false, "c1": true})

	w.must(w.Store.DeleteAccountKey(ctx, cause(), w.tenant, access.ServiceKind, "ci", "k"))
	w.refreshes("key deleted", map[string]bool{"c1": false})
	alice, err = w.Store.FindAccount(ctx, w.tenant, access.UserKind, "alice")
	w.must(err)
	w.addRefresh(alice.Principal(), "a4")
	w.addRefresh(alice.Principal(), "a5")
	w.must(w.Store.DeleteRefreshToken(ctx, cause(), w.tenant, access.UserKind, "alice", "a4"))
	w.refused(w.Store.DeleteRefreshToken(ctx, cause(), w.tenant, access.UserKind, "alice", "a4"), fault.NotFound, fault.ResourceUnknown)
	w.refreshes("ended", map[string]bool{"a4": false, "a5": true})
	w.Advance(time.Second)
	for i := range meta.MaxRefreshTokens {
		w.addRefresh(alice.Principal(), fmt.Sprintf("n%d", i))
	}
	w.refreshes("too many", map[string]bool{"a5": false, "n0": true, "n99": true})
	alice.Disabled = true
	alice, err = w.Store.UpdateAccount(ctx, cause(), alice)
	w.must(err)
	alice.Disabled = false
	_, err = w.Store.UpdateAccount(ctx, cause(), alice)
	w.must(err)
	w.refreshes("disabled, and enabled again", map[string]bool{"n0": false})
}
