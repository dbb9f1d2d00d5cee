package password

import (
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
)

var cheap = Cost{Memory: 64, Passes: 1, Lanes: 1}

func TestU23_APasswordHasItsHashAlone(t *testing.T) {
	h := New(cheap)
	hash, err := h.Hash(t.Context(), 7, "correct horse battery")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Fatalf("%q, %v", hash, err)
	}
	again, err := h.Hash(t.Context(), 7, "correct horse battery")
	if err != nil || again == hash {
		t.Errorf("two hashes of one password are the same: %q, %v", again, err)
	}
	for given, want := range map[string]bool{
		"correct horse battery": true, "correct horse batter": false, "Correct horse battery": false, "": false, hash: false,
	} {
		if got, err := h.Verify(t.Context(), 7, given, hash); err != nil || got != want {
			t.Errorf("%q: %t, %v", given, got, err)
		}
	}
	if DefaultCost.Memory > 64<<10 || DefaultCost.Memory < 19<<10 || DefaultCost.Passes < 2 || !DefaultCost.possible() {
		t.Errorf("the cost of a hash is %+v", DefaultCost)
	}
}

// Hashes that another program may have written, or an attacker of the database: none is of a
// password, and none takes more than maxCost.
func TestU23_BadHashesAreOfNoPassword(t *testing.T) {
	h := New(cheap)
	good, err := h.Hash(t.Context(), 7, "password-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{
		"", "$", "password-1", good + "A", good[:len(good)-1], " " + good, good + "\n",
		strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=64", "m=4294967295", 1), strings.Replace(good, "m=64", "m=1048576", 1), strings.Replace(good, "t=1", "t=1000", 1),
		strings.Replace(good, "p=1", "p=255", 1), strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "t=1", "t=0", 1),
		strings.Replace(good, "m=64,", "m=064,", 1), strings.Repeat(good, 10),
	} {
		if got, err := h.Verify(t.Context(), 7, "password-1", hash); err != nil || got {
			t.Errorf("%q: %t, %v", hash, got, err)
		}
	}
	if got, err := h.Verify(t.Context(), 7, "password-1", good); err != nil || !got {
		t.Errorf("the good one: %t, %v", got, err)
	}
}

func TestU23_HashesOfAnotherCostAreStale(t *testing.T) {
	before, now := New(cheap), New(Cost{Memory: 128, Passes: 1, Lanes: 1})
	hash, err := before.Hash(t.Context(), 7, "password-1")
	if err != nil || before.Stale(hash) || !now.Stale(hash) {
		t.Errorf("%q, %v", hash, err)
	}
	if same, err := now.Verify(t.Context(), 7, "password-1", hash); err != nil || !same {
		t.Errorf("%t, %v", same, err)
	}
}

func TestU23_WhatCanBeAPassword(t *testing.T) {
	for secret, want := range map[string]bool{
		"": false, "x": true, "berth_x": false, "Berth_x": true, strings.Repeat("x", 256): true, strings.Repeat("x", 257): false,
	} {
		if Possible(secret) != want {
			t.Errorf("%.20q: %t", secret, !want)
		}
	}
}

// One tenant that logs in all the time leaves others a place, and what it has too much of is
// refused at once.
func TestU24_OneTenantLeavesTheOthersAPlace(t *testing.T) {
	h := New(cheap)
	most := 0
	for h.gate.TryAcquire(1, 1) {
		most++
	}
	defer h.gate.Release(1, int64(most))
	if !h.gate.TryAcquire(2, 1) {
		t.Fatal("another tenant gets no place")
	}
	h.gate.Release(2, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range maxWaiting {
		waiting.Go(func() {
			if _, err := h.Verify(ctx, 1, "password-1", ""); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("a waiting call: %v", err)
			}
		})
	}
	await.True(t, 30*time.Second, "all to wait", func() bool { return h.gate.Stats().Waiting == maxWaiting })
	_, err := h.Verify(t.Context(), 1, "password-1", "")
	if !fault.Is(err, fault.Busy) || fault.From(err).RetryAfter <= 0 {
		t.Errorf("one call too many: %v", err)
	}
	if _, err := h.Verify(t.Context(), 2, "password-1", ""); err != nil {
		t.Errorf("another tenant, meanwhile: %v", err)
	}
	cancel()
	waiting.Wait()
}

func FuzzPHC(f *testing.F) {
	p := phc{cost: cheap, salt: make([]byte, saltBytes), key: make([]byte, keyBytes)}
	f.Add(p.String())
	f.Add("$argon2id$v=19$m=32768,t=3,p=1$" + base64.RawStdEncoding.EncodeToString(p.salt) + "$")
	f.Fuzz(func(t *testing.T, text string) {
		if p, ok := parsePHC(text); ok && (p.String() != text || !p.cost.possible()) {
			t.Fatalf("%q is read as %q", text, p)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	h := New(DefaultCost)
	for b.Loop() {
		_, _ = h.Verify(context.Background(), 1, "password-1", "")
	}
}
