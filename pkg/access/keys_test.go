package access

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func newKey(t *testing.T, id string, created time.Time) SigningKey {
	t.Helper()
	k, err := newSigningKey(created)
	if err != nil {
		t.Fatal(err)
	}
	k.ID = id
	return k
}

func TestOpenKeys_StartingTogetherAgree(t *testing.T) {
	store := &memoryKeys{}
	var all sync.WaitGroup
	var opened [8]*Keys
	for i := range opened {
		all.Go(func() {
			var err error
			if opened[i], err = OpenKeys(t.Context(), store); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(store.keys) != 1 {
		t.Fatalf("%d keys were made", len(store.keys))
	}
	for _, k := range opened {
		if got := k.current.Load().signs.private; !got.Equal(opened[0].current.Load().signs.private) {
			t.Error("two processes sign with different keys")
		}
	}
}

func TestKeys_Rotation(t *testing.T) {
	r := newRealm(t)
	first := r.key().ID
	r.clock = r.clock.Add(24 * time.Hour)
	old := r.issue(t, site, writer)

	if _, err := r.store.PutSigningKey(t.Context(), newKey(t, "second", r.clock)); err != nil {
		t.Fatal(err)
	}
	reload := func() {
		t.Helper()
		if err := r.keys.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reload()
	if r.key().ID != first {
		t.Error("a new key signs before every process knows it")
	}
	r.clock = r.clock.Add(2 * keysReload)
	reload()
	if r.key().ID != "second" {
		t.Errorf("%q signs, want the newest", r.key().ID)
	}
	for _, raw := range []string{old, r.issue(t, site, writer)} {
		if _, err := r.verifier.Verify(raw, site); err != nil {
			t.Errorf("all keys verify: %v", err)
		}
	}
	r.store.keys[1].RetiredAt = r.clock
	reload()
	if r.key().ID != first {
		t.Errorf("%q signs, though it is retired", r.key().ID)
	}
	r.store.keys = r.store.keys[:1]
	reload()
	if ids := r.issuer.JWKS().Keys; len(ids) != 1 || ids[0].ID != first {
		t.Errorf("keys %+v after one was removed", ids)
	}
}

func TestKeys_OutageKeepsKnownKeys(t *testing.T) {
	r := newRealm(t)
	raw := r.issue(t, site, writer)
	r.store.down = true
	if err := r.keys.reload(t.Context()); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	if _, err := r.verifier.Verify(raw, site); err != nil {
		t.Error(err)
	}
	if _, err := OpenKeys(t.Context(), r.store); !errors.Is(err, errDown) {
		t.Errorf("OpenKeys without a store: %v", err)
	}
}

func TestKeys_RunEnds(t *testing.T) {
	r := newRealm(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		r.keys.Run(ctx, func(err error) { t.Error(err) })
		close(done)
	}()
	cancel()
	<-done
}

func TestJWKS(t *testing.T) {
	r := newRealm(t)
	raw := r.issue(t, site, writer)
	encoded, err := json.Marshal(r.issuer.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(encoded, &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%s, %v", encoded, err)
	}
	if _, private := set.Keys[0]["d"]; private {
		t.Error("the private key is published")
	}
	x, err := base64.RawURLEncoding.DecodeString(set.Keys[0]["x"])
	if err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndexByte(raw, '.')
	signature, err := base64.RawURLEncoding.DecodeString(raw[last+1:])
	if err != nil || !ed25519.Verify(x, []byte(raw[:last]), signature) {
		t.Errorf("a token does not verify with the published key, %v", err)
	}
}

func TestIssue_LongTokensAreNotRemembered(t *testing.T) {
	r := newRealm(t)
	var scopes []Scope
	for i := range 100 {
		scopes = append(scopes, Repository(strings.Repeat("a", 60)+strconv.Itoa(i), All))
	}
	if _, err := r.verifier.Verify(r.issue(t, site, writer, scopes...), site); err != nil {
		t.Errorf("a long token of ours: %v", err)
	}
	if r.verifier.genuine.Len() != 0 {
		t.Error("a token of many scopes is remembered")
	}
}
