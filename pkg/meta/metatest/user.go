package metatest

import (
	"crypto/sha256"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testUsers(t *testing.T, open Open) {
	t.Run("U20 have one name space with service accounts, and nothing else", func(t *testing.T) {
		w := newWorld(t, open)
		a := meta.Account{Tenant: w.tenant, Kind: access.UserKind, Slug: "alice", DisplayName: "Alice", Role: access.Writer, Password: "$argon2id$one"}
		made, err := w.Store.CreateAccount(t.Context(), cause(), a)
		w.must(err)
		want := a
		want.ID, want.Version, want.CreatedAt, want.UpdatedAt = made.ID, made.Version, w.Now(), w.Now()
		if made != want || made.Principal() != access.AccountPrincipal(access.UserKind, w.tenant, made.ID, "alice", access.Writer) {
			t.Errorf("made %+v, want %+v; %+v", made, want, made.Principal())
		}
		a.Kind, a.Password = access.ServiceKind, ""
		_, err = w.Store.CreateAccount(t.Context(), cause(), a)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		ci := w.addAccount("ci", access.Reader)
		w.accounts([]string{"ci"}, "", 9)
		users, err := w.Store.ListAccounts(t.Context(), w.tenant, access.UserKind, meta.Page{Size: 9})
		if err != nil || !slices.Equal(users, []meta.Account{made}) {
			t.Errorf("users %+v, %v", users, err)
		}
		_, err = w.Store.FindAccount(t.Context(), w.tenant, access.ServiceKind, "alice")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		ci.Kind = access.UserKind
		_, err = w.Store.UpdateAccount(t.Context(), cause(), ci)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "alice", 0), fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.CreateAccountKey(t.Context(), cause(), w.tenant, access.ServiceKind, "alice", meta.AccountKey{Name: "k"})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteAccountKey(t.Context(), cause(), w.tenant, access.UserKind, "ci", "k"), fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("U20 log in with their access tokens, and have events of their own", func(t *testing.T) {
		w := newWorld(t, open)
		alice := w.addUser("alice")
		hash := sha256.Sum256([]byte("token"))
		_, err := w.Store.CreateAccountKey(t.Context(), cause(), w.tenant, access.UserKind, "alice", meta.AccountKey{Name: "laptop", Hash: hash})
		w.must(err)
		if got, err := w.Store.FindAccountByKey(t.Context(), w.tenant, "alice", hash); err != nil || got != (meta.Login{Account: alice, Key: "laptop"}) {
			t.Errorf("%+v, %v", got, err)
		}
		w.must(w.Store.DeleteAccountKey(t.Context(), cause(), w.tenant, access.UserKind, "alice", "laptop"))
		_, err = w.Store.UpdateAccount(t.Context(), cause(), alice)
		w.must(err)
		w.must(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.UserKind, "alice", 0))
		var got []string
		for _, e := range w.events("", 5) {
			got = append(got, e.Verb+" "+e.Target)
		}
		want := []string{
			"user.delete users/alice", "user.update users/alice", "accessToken.delete users/alice/accessTokens/laptop",
			"accessToken.create users/alice/accessTokens/laptop", "user.create users/alice",
		}
		if !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
	})
	t.Run("U25 are found by name, with the key that fits", func(t *testing.T) { testLogins(t, open) })
	t.Run("U28 know when a key was used last", func(t *testing.T) { testKeyUses(t, open) })
	t.Run("U26 may be told not to use passwords, by tenant", func(t *testing.T) {
		w := newWorld(t, open)
		at := tenant.Lookup{Host: "acme.reg.example", TenantSlug: "acme", Registry: tenant.MainRegistry}
		for _, off := range []bool{true, false} {
			change := w.acme()
			change.NoPasswords = off
			changed, err := w.Store.UpdateTenant(t.Context(), cause(), change)
			w.must(err)
			site, err := w.Store.FindSite(t.Context(), at)
			w.must(err)
			if changed.NoPasswords != off || site.NoPasswords != off || changed.Epoch != change.Epoch {
				t.Errorf("off %t: %+v, %+v", off, changed, site)
			}
		}
	})
	t.Run("W236 have the rate limits of their tenant", func(t *testing.T) {
		w := newWorld(t, open)
		change := w.acme()
		want := tenant.RateLimits{
			Tenant: tenant.RateLimit{Requests: 100, Egress: 1 << 40, Uploads: -1},
			Caller: tenant.RateLimit{Requests: -1, Uploads: 2},
		}
		change.RateLimits = want
		changed, err := w.Store.UpdateTenant(t.Context(), cause(), change)
		w.must(err)
		site, err := w.Store.FindSite(t.Context(), tenant.Lookup{Host: "acme.reg.example", TenantSlug: "acme", Registry: tenant.MainRegistry})
		w.must(err)
		if changed.RateLimits != want || site.RateLimits != want || changed.Epoch != change.Epoch {
			t.Errorf("%+v, %+v", changed.RateLimits, site.RateLimits)
		}
		made, err := w.Store.CreateTenant(t.Context(), cause(), meta.Tenant{Slug: "rated", RateLimits: want}, tenant.Settings{})
		w.must(err)
		if made.RateLimits != want {
			t.Errorf("made with %+v", made.RateLimits)
		}
	})
	t.Run("U21 are principals of access rules, by their kind", func(t *testing.T) {
		w := newWorld(t, open)
		w.addUser("alice")
		r := w.rule("rule")
		r.Principals = []string{"serviceAccounts/alice"}
		_, err := w.Store.CreateAccessRule(t.Context(), cause(), r)
		w.refused(err, fault.Invalid, fault.ResourceUnknown)
		r.Principals = []string{"users/alice"}
		w.addRule(r)
		w.refused(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.UserKind, "alice", 0), fault.Conflict, fault.InUse)
	})
	t.Run("U22 a change that takes rights revokes tokens", func(t *testing.T) { testRevocations(t, open) })
	t.Run("U56 refresh tokens", func(t *testing.T) { testRefreshTokens(t, open) })
	t.Run("U50 what is read of revocations is bounded", func(t *testing.T) { testRevocationBounds(t, open) })
	t.Run("U115 the epoch of a tenant takes the place of many", func(t *testing.T) { testManyRevocations(t, open) })
	t.Run("U22 an upgrade keeps accounts and keys", func(t *testing.T) {
		w := newWorld(t, open)
		ci := w.addAccount("ci", access.Writer)
		key := w.addKey("k", "secret")
		w.must(w.SQL.Exec(`DROP TABLE revocations; ALTER TABLE tenants DROP COLUMN no_passwords;
ALTER TABLE accounts DROP COLUMN kind; ALTER TABLE accounts DROP COLUMN password; ALTER TABLE accounts DROP COLUMN epoch;
ALTER TABLE account_keys DROP COLUMN description; ALTER TABLE account_keys DROP COLUMN last_used_at; ALTER TABLE account_keys DROP COLUMN last_used_from;`)) // as it was before
		step, err := fs.ReadFile(w.SQL.Steps, "0024_principals.sql")
		w.must(err)
		w.must(w.SQL.Exec(string(step)))
		if got, err := w.Store.FindAccountByKey(t.Context(), w.tenant, "ci", key.Hash); err != nil || got.Account != ci {
			t.Errorf("%+v, %v", got, err)
		}
		w.accounts([]string{"ci"}, "", 9)
	})
}

func testLogins(t *testing.T, open Open) {
	w := newWorld(t, open)
	other, _ := w.addTenant("other", 0)
	alice := w.addUser("alice")
	ci := w.addAccount("ci", access.Writer)
	w.addKey("k", "secret")
	short := meta.AccountKey{Name: "short", Hash: sha256.Sum256([]byte("short")), ExpiresAt: w.Now().Add(time.Hour)}
	_, err := w.Store.CreateAccountKey(t.Context(), cause(), w.tenant, access.UserKind, "alice", short)
	w.must(err)
	found := func(slug, secret string, want meta.Login) {
		t.Helper()
		if got, err := w.Store.FindLogin(t.Context(), w.tenant, slug, sha256.Sum256([]byte(secret))); err != nil || got != want {
			t.Errorf("%s with %q: %+v, %v", slug, secret, got, err)
		}
	}
	missing := func(of tenant.ID, slug string) {
		t.Helper()
		_, err := w.Store.FindLogin(t.Context(), of, slug, sha256.Sum256([]byte("secret")))
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	}
	found("ci", "secret", meta.Login{Account: ci, Key: "k"})
	found("ci", "wrong", meta.Login{Account: ci})
	found("alice", "secret", meta.Login{Account: alice})
	found("alice", "short", meta.Login{Account: alice, Key: "short"})
	missing(w.tenant, "")
	missing(w.tenant, "none")
	missing(other, "alice")
	w.Advance(time.Hour)
	found("alice", "short", meta.Login{Account: alice})

	w.must(w.Store.RehashPassword(t.Context(), w.tenant, alice.ID, "$argon2id$none", "$argon2id$lost"))
	found("alice", "", meta.Login{Account: alice})
	w.must(w.Store.RehashPassword(t.Context(), w.tenant, alice.ID, alice.Password, "$argon2id$again"))
	alice.Password = "$argon2id$again"
	found("alice", "", meta.Login{Account: alice})

	alice.Disabled = true
	_, err = w.Store.UpdateAccount(t.Context(), cause(), alice)
	w.must(err)
	missing(w.tenant, "alice")
	change := w.acme()
	change.State = tenant.Suspended
	_, err = w.Store.UpdateTenant(t.Context(), cause(), change)
	w.must(err)
	missing(w.tenant, "ci")
}

func testKeyUses(t *testing.T, open Open) {
	w := newWorld(t, open)
	ci := w.addAccount("ci", access.Writer)
	w.addKey("k", "one")
	w.addKey("unused", "two")
	used := func(at time.Time, from, wantFrom string, want time.Time) {
		t.Helper()
		w.must(w.Store.RecordKeyUses(t.Context(), []meta.KeyUse{
			{Tenant: w.tenant, Account: ci.ID, Key: "k", At: at, Address: from},
			{Tenant: w.tenant, Account: ci.ID, Key: "gone", At: at},
			{Tenant: w.tenant + 1, Account: ci.ID, Key: "unused", At: at},
		}))
		keys, err := w.Store.ListAccountKeys(t.Context(), w.tenant, access.ServiceKind, "ci")
		w.must(err)
		if len(keys) != 2 || !keys[0].UsedAt.Equal(want) || keys[0].UsedFrom != wantFrom || !keys[1].UsedAt.IsZero() || keys[1].UsedFrom != "" {
			t.Errorf("keys %+v", keys)
		}
	}
	at := w.Now().Truncate(time.Minute)
	used(at, "192.0.2.1", "192.0.2.1", at)
	used(at.Add(-time.Minute), "192.0.2.2", "192.0.2.1", at) // of a node that is late
	used(at.Add(time.Minute), "", "", at.Add(time.Minute))
	w.must(w.Store.RecordKeyUses(t.Context(), nil))
}

// testRevocations makes each change of an account, and looks which tokens it revokes.
func testRevocations(t *testing.T, open Open) {
	w := newWorld(t, open)
	a := w.addUser("alice")
	other := w.addAccount("ci", access.Writer)
	key := w.addKey("k", "secret")
	changed := func(change func(*meta.Account)) {
		t.Helper()
		change(&a)
		var err error
		a, err = w.Store.UpdateAccount(t.Context(), cause(), a)
		w.must(err)
	}
	revoked := func(what string, want ...access.Revocation) {
		t.Helper()
		got, err := w.Store.ListRevocations(t.Context(), time.Minute, 10)
		w.must(err)
		slices.SortFunc(got, func(x, y access.Revocation) int { return int(x.Account - y.Account) })
		if len(got) != len(want) || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		w.Advance(time.Hour)
	}
	of := func(id int64, key string, epoch int64) access.Revocation {
		return access.Revocation{Tenant: w.tenant, Account: id, Key: key, Epoch: epoch, At: w.Now()}
	}
	changed(func(a *meta.Account) { a.DisplayName = "A" })
	revoked("another display name")
	changed(func(a *meta.Account) { a.Role = access.Reader })
	revoked("another role", of(a.ID, "", 1))
	changed(func(a *meta.Account) { a.Password = "$argon2id$two" })
	revoked("another password", of(a.ID, "", 2))
	changed(func(a *meta.Account) { a.Disabled = true })
	revoked("disabled", of(a.ID, "", 3))
	changed(func(a *meta.Account) { a.Disabled = false })
	revoked("enabled")
	if a.Epoch != 3 {
		t.Errorf("epoch %d after three revocations", a.Epoch)
	}
	w.must(w.Store.RevokeTokens(t.Context(), cause(), w.tenant, access.UserKind, "alice"))
	revoked("all revoked", of(a.ID, "", 4))
	w.refused(w.Store.RevokeTokens(t.Context(), cause(), w.tenant, access.ServiceKind, "alice"), fault.NotFound, fault.ResourceUnknown)
	w.must(w.Store.DeleteAccountKey(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", key.Name))
	w.must(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.UserKind, "alice", 0))
	revoked("a key and an account deleted", of(a.ID, "", 5), of(other.ID, key.Name, 1))
	by := cause()
	for range 2 { // the same request again
		_, err := w.Store.UpdateAccount(t.Context(), by, meta.Account{ID: other.ID, Tenant: w.tenant, Kind: access.ServiceKind, Slug: "ci", Role: access.Admin})
		w.must(err)
	}
	revoked("another role of an account whose key was deleted", of(other.ID, "", 2))
	later := w.addUser("alice")
	if later.ID == a.ID {
		t.Errorf("a later user has the id of a deleted one")
	}
	w.refusedElsewhere(a)
	revoked("nothing")
}

// refusedElsewhere tries changes that fail, which revoke nothing.
func (w world) refusedElsewhere(a meta.Account) {
	w.t.Helper()
	other, _ := w.addTenant("other", 0)
	a.Tenant, a.Role = other, access.Admin
	_, err := w.Store.UpdateAccount(w.t.Context(), cause(), a)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	a.Tenant, a.Version = w.tenant, 99
	_, err = w.Store.UpdateAccount(w.t.Context(), cause(), a)
	w.refused(err, fault.Conflict, fault.EtagMismatch)
	w.refused(w.Store.DeleteAccountKey(w.t.Context(), cause(), w.tenant, access.ServiceKind, "ci", "none"), fault.NotFound, fault.ResourceUnknown)
}

func (w world) addUser(slug string) meta.Account {
	w.t.Helper()
	a, err := w.Store.CreateAccount(w.t.Context(), cause(), meta.Account{Tenant: w.tenant, Kind: access.UserKind, Slug: slug, Role: access.Member, Password: "$argon2id$one"})
	w.must(err)
	return a
}
