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
)

func testOperators(t *testing.T, open Open) {
	t.Run("U100 change if no one else changed them, in the log of the deployment", func(t *testing.T) { testOperatorChanges(t, open) })
	t.Run("U101 are found by tokens that count", func(t *testing.T) { testOperatorTokens(t, open) })
	t.Run("S40 have a bounded number of tokens", func(t *testing.T) {
		w := newWorldWith(t, open, Options{Limits: meta.Limits{AccountKeys: 2}})
		_, err := w.Store.CreateOperator(t.Context(), cause(), meta.Operator{Slug: "alice"})
		w.must(err)
		var refused error
		for _, name := range []string{"one", "two", "three"} {
			w.must(refused)
			_, refused = w.Store.CreateOperatorToken(t.Context(), cause(), "alice", meta.AccountKey{Name: name, ExpiresAt: w.Now().Add(time.Hour)})
		}
		w.refused(refused, fault.Conflict, fault.LimitReached)
	})
	t.Run("U100 come with an upgrade", func(t *testing.T) {
		w := newWorld(t, open)
		w.must(w.SQL.Exec(`DROP TABLE operator_tokens; DROP TABLE operators;`)) // as it was before
		step, err := fs.ReadFile(w.SQL.Steps, "0030_operators.sql")
		w.must(err)
		w.must(w.SQL.Exec(string(step)))
		_, err = w.Store.CreateOperator(t.Context(), cause(), meta.Operator{Slug: "alice"})
		w.must(err)
	})
}

func testOperatorChanges(t *testing.T, open Open) {
	w := newWorld(t, open)
	by, o := cause(), meta.Operator{Slug: "alice", DisplayName: "Alice"}
	made, err := w.Store.CreateOperator(t.Context(), by, o)
	w.must(err)
	want := o
	want.ID, want.Version, want.CreatedAt, want.UpdatedAt = made.ID, 1, w.Now(), w.Now()
	if again, err := w.Store.CreateOperator(t.Context(), by, o); err != nil || made != want || again != made { // the same request again
		t.Errorf("made %+v and %+v, %v; want %+v", made, again, err, want)
	}
	_, err = w.Store.CreateOperator(t.Context(), cause(), o)
	w.refused(err, fault.Conflict, fault.AlreadyExists)
	_, err = w.Store.CreateOperator(t.Context(), cause(), meta.Operator{Slug: "bob", Disabled: true})
	w.must(err)

	w.Advance(time.Minute)
	change := made
	change.DisplayName, change.Disabled = "", true
	changed, err := w.Store.UpdateOperator(t.Context(), cause(), change)
	w.must(err)
	change.Version, change.UpdatedAt = 2, w.Now()
	if changed != change {
		t.Errorf("%+v, want %+v", changed, change)
	}
	_, err = w.Store.UpdateOperator(t.Context(), cause(), made)
	w.refused(err, fault.Conflict, fault.EtagMismatch)
	all, err := w.Store.ListOperators(t.Context(), meta.Page{Size: 9})
	if err != nil || len(all) != 2 || all[0] != changed || !all[1].Disabled {
		t.Errorf("listed %+v, %v", all, err)
	}
	if rest, err := w.Store.ListOperators(t.Context(), meta.Page{After: "alice", Size: 1}); err != nil || len(rest) != 1 || rest[0].Slug != "bob" {
		t.Errorf("after alice %+v, %v", rest, err)
	}
	w.refused(w.Store.DeleteOperator(t.Context(), cause(), "alice", 1), fault.Conflict, fault.EtagMismatch)
	gone := cause()
	w.must(w.Store.DeleteOperator(t.Context(), gone, "alice", 2))
	w.must(w.Store.DeleteOperator(t.Context(), gone, "alice", 2)) // the same request again
	w.refused(w.Store.DeleteOperator(t.Context(), cause(), "alice", 0), fault.NotFound, fault.ResourceUnknown)
	_, err = w.Store.UpdateOperator(t.Context(), cause(), changed)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	w.deploymentEvents("operator.delete operators/alice", "operator.update operators/alice", "operator.create operators/bob", "operator.create operators/alice")
	if again, err := w.Store.CreateOperator(t.Context(), cause(), o); err != nil || again.ID == made.ID {
		t.Errorf("a later one of the name is %+v, %v", again, err)
	}
}

func testOperatorTokens(t *testing.T, open Open) {
	w := newWorld(t, open)
	alice, err := w.Store.CreateOperator(t.Context(), cause(), meta.Operator{Slug: "alice"})
	w.must(err)
	hash := func(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }
	by, laptop := cause(), meta.AccountKey{Name: "laptop", Hash: hash("one"), Note: "hers", ExpiresAt: w.Now().Add(time.Hour)}
	made, err := w.Store.CreateOperatorToken(t.Context(), by, "alice", laptop)
	w.must(err)
	again, err := w.Store.CreateOperatorToken(t.Context(), by, "alice", laptop)
	laptop.CreatedAt = w.Now()
	if err != nil || made != laptop || again != laptop {
		t.Errorf("%+v and %+v, %v; want %+v", made, again, err, laptop)
	}
	_, err = w.Store.CreateOperatorToken(t.Context(), cause(), "alice", laptop)
	w.refused(err, fault.Conflict, fault.AlreadyExists)
	_, err = w.Store.CreateOperatorToken(t.Context(), cause(), "none", laptop)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	_, err = w.Store.CreateOperatorToken(t.Context(), cause(), "alice", meta.AccountKey{Name: "ci", Hash: hash("two"), ExpiresAt: w.Now().Add(2 * time.Hour)})
	w.must(err)
	w.addAccount("ci", access.Admin)
	w.addKey("k", "of an account")
	found := func(secret, token string) {
		t.Helper()
		got, err := w.Store.FindOperatorByToken(t.Context(), hash(secret))
		if token == "" {
			w.refused(err, fault.NotFound, fault.ResourceUnknown)
		} else if err != nil || got.Slug != "alice" || got.ID != alice.ID || got.Token != token {
			t.Errorf("%s: %+v, %v", secret, got, err)
		}
	}
	found("one", "laptop")
	found("two", "ci")
	found("of an account", "")
	_, err = w.Store.FindAccountByKey(t.Context(), 0, "", hash("one"))
	w.refused(err, fault.NotFound, fault.ResourceUnknown)

	w.useTokens(alice)
	_, err = w.Store.ListOperatorTokens(t.Context(), "none")
	w.refused(err, fault.NotFound, fault.ResourceUnknown)

	w.Advance(time.Hour)
	found("one", "")
	found("two", "ci")
	alice.Disabled = true
	alice, err = w.Store.UpdateOperator(t.Context(), cause(), alice)
	w.must(err)
	found("two", "")
	alice.Disabled = false
	_, err = w.Store.UpdateOperator(t.Context(), cause(), alice)
	w.must(err)
	found("two", "ci")
	w.must(w.Store.DeleteOperatorToken(t.Context(), cause(), "alice", "laptop"))
	w.refused(w.Store.DeleteOperatorToken(t.Context(), cause(), "alice", "laptop"), fault.NotFound, fault.ResourceUnknown)
	w.must(w.Store.DeleteOperator(t.Context(), cause(), "alice", 0))
	found("two", "")
	w.deploymentEvents("operator.delete operators/alice", "operatorToken.delete operators/alice/tokens/laptop", "operator.update operators/alice")
}

// useTokens records uses of the token "laptop" of alice, and of others that there are not.
func (w world) useTokens(alice meta.Operator) {
	w.t.Helper()
	at := w.Now().Truncate(time.Minute)
	w.must(w.Store.RecordKeyUses(w.t.Context(), []meta.KeyUse{
		{Tenant: meta.Deployment, Account: alice.ID, Key: "laptop", At: at, Address: "192.0.2.1"},
		{Tenant: w.tenant, Account: alice.ID, Key: "ci", At: at},
		{Tenant: meta.Deployment, Account: alice.ID + 1, Key: "ci", At: at},
	}))
	w.must(w.Store.RecordKeyUses(w.t.Context(), []meta.KeyUse{{Tenant: meta.Deployment, Account: alice.ID, Key: "laptop", At: at.Add(-time.Minute)}})) // of a node that is late
	tokens, err := w.Store.ListOperatorTokens(w.t.Context(), "alice")
	if err != nil || len(tokens) != 2 || !tokens[0].UsedAt.IsZero() || !tokens[1].UsedAt.Equal(at) || tokens[1].UsedFrom != "192.0.2.1" {
		w.t.Errorf("tokens %+v, %v", tokens, err)
	}
}

// deploymentEvents compares the newest events of the deployment.
func (w world) deploymentEvents(want ...string) {
	w.t.Helper()
	events, err := w.Store.ListEvents(w.t.Context(), meta.Deployment, meta.Page{Size: len(want)})
	w.must(err)
	var got []string
	for _, e := range events {
		got = append(got, e.Verb+" "+e.Target)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("events %q, want %q", got, want)
	}
}
