package access

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/pause"
)

// revoking has the realm's verifier refuse what is in the rows, by the realm's clock.
func (r *realm) revoking(t testing.TB, rows ...Revocation) *Revocations {
	t.Helper()
	revoked := NewRevocations(func(_ context.Context, age time.Duration, most int) ([]Revocation, error) {
		if age != RevocationLife {
			t.Errorf("revocations of %s are read", age)
		}
		return rows[:min(len(rows), most)], nil
	})
	revoked.now = func() time.Time { return r.clock }
	if err := revoked.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.verifier.WithRevocations(revoked)
	return revoked
}

// TestU50_RevokedTokensAreRefused: those of the account below the epoch, or of the key.
func TestU50_RevokedTokensAreRefused(t *testing.T) {
	alice := Principal{Name: "users/alice", ID: 5, Tenant: 7, Role: Writer, Epoch: 2, Key: "laptop"}
	change := func(f func(*Principal)) Principal {
		p := alice
		f(&p)
		return p
	}
	all := Revocation{Tenant: 7, Account: 5, Epoch: 3}
	key := Revocation{Tenant: 7, Account: 5, Key: "laptop", Epoch: 3}
	for name, c := range map[string]struct {
		row  Revocation
		p    Principal
		good bool
	}{
		"the account's":               {all, alice, false},
		"another key of the account":  {all, change(func(p *Principal) { p.Key = "" }), false},
		"issued since":                {all, change(func(p *Principal) { p.Epoch = 3 }), true},
		"another account":             {all, change(func(p *Principal) { p.ID = 6 }), true},
		"the account of another":      {Revocation{Tenant: 8, Account: 5, Epoch: 3}, alice, true},
		"the key's":                   {key, alice, false},
		"another key":                 {key, change(func(p *Principal) { p.Key = "ci" }), true},
		"by password":                 {key, change(func(p *Principal) { p.Key = "" }), true},
		"a later key of that name":    {key, change(func(p *Principal) { p.Epoch = 3 }), true},
		"anonymous":                   {all, Principal{Tenant: 7}, true},
		"a token of a version before": {all, Principal{Name: "users/alice", Tenant: 7, Role: Writer}, true},
	} {
		r := newRealm(t)
		raw := r.issue(t, site, c.p, Repository("a", Pull))
		r.revoking(t)
		claims, err := r.verifier.Verify(raw, site)
		if err != nil || claims.Principal != c.p {
			t.Errorf("%s: %+v before, %v", name, claims, err)
		}
		r.revoking(t, c.row)
		if c.good {
			if _, err := r.verifier.Verify(raw, site); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		r.wantRefused(t, name, raw, site)
	}
}

// TestU50_MoreRevocationsThanAreRead: tokens that were issued before the oldest one that was
// read are refused.
func TestU50_MoreRevocationsThanAreRead(t *testing.T) {
	r := newRealm(t)
	raw := r.issue(t, site, writer)
	later := r.clock.Add(time.Minute)
	r.clock = later.Add(time.Minute)
	storm := make([]Revocation, maxRevocations)
	for i := range storm {
		storm[i] = Revocation{Tenant: 9, Account: int64(100 + i), Epoch: 1, At: later}
	}
	r.revoking(t, storm[1:]...)
	if _, err := r.verifier.Verify(raw, site); err != nil {
		t.Errorf("all were read: %v", err)
	}
	r.revoking(t, storm...)
	r.wantRefused(t, "from before", raw, site)
	if _, err := r.verifier.Verify(r.issue(t, site, writer), site); err != nil {
		t.Errorf("a new token: %v", err)
	}
}

// TestU51_WithoutRevocationsNoTokenCounts: after 30 s without a reading, tokens of accounts
// are 503, and anonymous ones work.
func TestU51_WithoutRevocationsNoTokenCounts(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		r := newRealm(t)
		r.keys.now = time.Now
		var down atomic.Bool // set between readings
		var reads atomic.Int64
		revoked := NewRevocations(func(context.Context, time.Duration, int) ([]Revocation, error) {
			reads.Add(1)
			if down.Load() {
				return nil, errDown
			}
			return nil, nil
		})
		r.verifier.WithRevocations(revoked)
		var failures, successes atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		go revoked.Run(ctx, func(err error) {
			if err != nil {
				failures.Add(1)
			} else {
				successes.Add(1)
			}
		})
		verify := func(p Principal) error {
			r.clock = time.Now()
			_, err := r.verifier.Verify(r.issue(t, site, p), site)
			return err
		}
		wait := func(d time.Duration) {
			_ = pause.For(ctx, d)
			synctest.Wait()
		}
		if err := verify(writer); !fault.Is(err, fault.UnavailableReason) {
			t.Errorf("before the first reading: %v", err)
		}
		wait(2100 * time.Millisecond)
		if err := verify(writer); err != nil || reads.Load() != 1 {
			t.Errorf("%d readings after 2 s: %v", reads.Load(), err)
		}
		revoked.Wake()
		wait(time.Millisecond)
		if reads.Load() != 2 {
			t.Errorf("%d readings after it was woken", reads.Load())
		}
		down.Store(true)
		wait(29 * time.Second)
		if err := verify(writer); err != nil {
			t.Errorf("29 s after the last reading: %v", err)
		}
		wait(3 * time.Second)
		if err := verify(writer); !fault.Is(err, fault.UnavailableReason) {
			t.Errorf("32 s after the last reading: %v", err)
		}
		if err := verify(Principal{}); err != nil {
			t.Errorf("anonymous: %v", err)
		}
		down.Store(false)
		wait(2100 * time.Millisecond)
		if err := verify(writer); err != nil || failures.Load() != 1 || successes.Load() != 1 {
			t.Errorf("back again: %v, told of %d failures and %d successes", err, failures.Load(), successes.Load())
		}
		cancel()
		synctest.Wait()
	})
}
