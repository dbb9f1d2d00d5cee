package seal_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/berth-registry/berth/pkg/seal"
)

const here = "tenants/7/upstreams/ghcr/password"

func newKeyring(t testing.TB, keys ...string) *seal.Keyring {
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
	oldKey = "an old key of this deployment"
	newKey = "the new key of this deployment"
)

func mustSeal(t testing.TB, k *seal.Keyring, secret string) []byte {
	t.Helper()
	sealed, err := k.Seal(secret, here)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func Example() {
	ring, err := seal.New([]byte("the key of the deployment, from its file"))
	if err != nil {
		panic(err)
	}
	sealed, err := ring.Seal("hunter2", "tenants/7/upstreams/ghcr/password")
	if err != nil {
		panic(err)
	}
	secret, err := ring.Open(sealed, "tenants/7/upstreams/ghcr/password")
	fmt.Println(secret, err)
	_, err = ring.Open(sealed, "tenants/8/upstreams/ghcr/password")
	fmt.Println(err)
	// Output:
	// hunter2 <nil>
	// seal: it cannot be opened with these keys, or not here
}

func TestKeysCanBeRotated(t *testing.T) {
	before, during, after := newKeyring(t, oldKey), newKeyring(t, newKey, oldKey), newKeyring(t, newKey)
	sealed := mustSeal(t, before, "secret")
	if got, err := during.Open(sealed, here); err != nil || got != "secret" || !during.Stale(sealed) || before.Stale(sealed) {
		t.Errorf("during rotation: %q, %v, stale %v", got, err, during.Stale(sealed))
	}
	if _, err := after.Open(sealed, here); err == nil {
		t.Error("a key that was given up opens it still")
	}
	again := mustSeal(t, during, "secret")
	if got, err := after.Open(again, here); err != nil || got != "secret" || during.Stale(again) {
		t.Errorf("after rotation: %q, %v", got, err)
	}
	if _, err := newKeyring(t).Seal("secret", here); err == nil {
		t.Error("it seals without a key")
	}
}

func TestWhatWasChangedDoesNotOpen(t *testing.T) {
	ring := newKeyring(t, newKey)
	sealed := mustSeal(t, ring, "secret")
	for i := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[i] ^= 1
		if got, err := ring.Open(flipped, here); err == nil {
			t.Errorf("byte %d flipped: %q", i, got)
		}
		if got, err := ring.Open(sealed[:i], here); err == nil {
			t.Errorf("cut at %d: %q", i, got)
		}
	}
	if bytes.Contains(sealed, []byte("secret")) || bytes.Equal(sealed, mustSeal(t, ring, "secret")) {
		t.Error("what is sealed shows the secret, or that it is the same")
	}
	if _, err := seal.New([]byte("short")); err == nil {
		t.Error("a short key is taken")
	}
}

func FuzzOpen(f *testing.F) {
	ring := newKeyring(f, newKey, oldKey)
	f.Add(mustSeal(f, ring, "secret"), here)
	f.Add([]byte{}, "")
	f.Add([]byte{1}, here)
	f.Fuzz(func(t *testing.T, sealed []byte, bound string) {
		if got, err := ring.Open(sealed, bound); err == nil && (got != "secret" || bound != here) {
			t.Errorf("%x opens as %q at %q", sealed, got, bound)
		}
	})
}
