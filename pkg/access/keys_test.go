package access

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
)

func TestKeys_OutageKeepsKnownKeys(t *testing.T) {
	r := newRealm(t)
	raw := r.issue(t, site, writer)
	r.store.down = true
	if err := r.keys.reload(t.Context()); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	if err := r.signer.tend(t.Context()); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	if _, err := r.verifier.Verify(raw, site); err != nil {
		t.Error(err)
	}
	if _, err := r.verifier.Verify(r.issue(t, site, writer), site); err != nil {
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
		r.signer.Run(ctx, func(err error) { t.Error(err) })
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
		t.Errorf("a long own token: %v", err)
	}
	if r.verifier.genuine.Len() != 0 {
		t.Error("a token of many scopes is remembered")
	}
}
