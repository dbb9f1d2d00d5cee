package login_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
)

// TestB10_AnUnknownUserCostsAsMuchAsAWrongPassword, and so do a user without a password and
// a service account. It compares the times by Welch's t-test. Samples are taken in turn, so
// that what else the machine does is the same for all, and the slowest are left out. The test
// fails only if a difference is both certain and large.
func TestB10_AnUnknownUserCostsAsMuchAsAWrongPassword(t *testing.T) {
	costly := password.New(password.Cost{Memory: 2 << 10, Passes: 2, Lanes: 1})
	h := harness(func(w *world, a meta.Account) string {
		hash, err := costly.Hash(t.Context(), a.Tenant, "the password")
		w.must(err)
		switch a.Slug {
		case "alice":
			a.Password = hash
		case "bob": // a user without a password
			_, err := w.CreateAccount(t.Context(), by(), meta.Account{Tenant: a.Tenant, Kind: access.ServiceKind, Slug: "ci", Role: access.Reader})
			w.must(err)
		}
		_, err = w.UpdateAccount(t.Context(), by(), a)
		w.must(err)
		return "the password"
	}, func(w *world) login.Authenticator {
		return login.Both{Passwords: login.Passwords{Accounts: w, Hasher: costly}}
	})(t)
	took := func(name string) float64 {
		began := time.Now()
		_, err := h.Authenticator.Authenticate(t.Context(), login.Attempt{Tenant: h.Tenant, Name: name, Secret: "a wrong password"})
		if !fault.Is(err, fault.ResourceUnknown) {
			t.Fatal(err)
		}
		return float64(time.Since(began))
	}
	const samples = 200
	times := map[string][]float64{}
	names := []string{"alice", "none", "bob", "ci"}
	for i := range samples {
		for j := range names {
			name := names[(i+j)%len(names)] // each is first as often: what comes in time with the rounds, as garbage collection does, favours none
			times[name] = append(times[name], took(name))
		}
	}
	for _, name := range []string{"none", "bob", "ci"} {
		if welch, ratio := compared(times["alice"], times[name]); math.Abs(welch) > 6 && (ratio < 0.85 || ratio > 1.15) {
			t.Errorf("%s takes %.2f of the time of a wrong password (t = %.1f)", name, ratio, welch)
		}
	}
	early := make([]float64, samples) // a refusal without a hash
	for i := range early {
		early[i] = times["alice"][i] / 4
	}
	if welch, ratio := compared(times["alice"], early); math.Abs(welch) < 6 || ratio > 0.85 {
		t.Errorf("an early refusal would not be found: %.2f, t = %.1f", ratio, welch)
	}
}

// compared returns Welch's t of two samples without their slowest quarter, and the ratio of
// their means.
func compared(a, b []float64) (float64, float64) {
	ma, va := moments(a)
	mb, vb := moments(b)
	return (ma - mb) / math.Sqrt(va+vb), mb / ma
}

// moments returns the mean, and the variance of the mean.
func moments(x []float64) (float64, float64) {
	x = slices.Sorted(slices.Values(x))
	x = x[:len(x)*3/4]
	var mean, sum float64
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		sum += (v - mean) * (v - mean)
	}
	n := float64(len(x))
	return mean, sum / (n - 1) / n
}
