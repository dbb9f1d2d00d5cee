package admin

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/identity"
)

// signingKey adds a key that nothing was signed with.
func (a *api) signingKey(id string) {
	a.t.Helper()
	k := access.VerifyKey{ID: id, Algorithm: access.EdDSA, Public: []byte{1}, CreatedAt: time.Now(), SignsFrom: time.Now()}
	if _, err := a.store.PutSigningKey(a.t.Context(), access.SigningKey{VerifyKey: k}); err != nil {
		a.t.Fatal(err)
	}
}

// TestU55_TheOperatorReplacesSigningKeys by a call that says which ones, and changes nothing
// with validate_only.
func TestU55_TheOperatorReplacesSigningKeys(t *testing.T) {
	a := newAPI(t)
	if _, err := a.store.ClaimIdentity(t.Context(), identity.New()); err != nil {
		t.Fatal(err)
	}
	a.signingKey("old")
	a.signingKey("now")
	if err := a.store.UpdateSigningKey(t.Context(), access.SigningKey{VerifyKey: access.VerifyKey{ID: "old", RetiredAt: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	for _, asked := range []bool{false, true} {
		body := fmt.Sprintf(`{"validate_only": %t}`, !asked)
		answer := a.call(200, "POST", "/v1/signingKeys:rotate", body)
		keys := answer["signing_keys"].([]any)
		if len(keys) != 1 || keys[0].(map[string]any)["name"] != "signingKeys/now" {
			t.Errorf("%s: %v", body, answer)
		}
		due, err := a.store.SigningKeysDue(t.Context())
		if err != nil || !asked && !due.IsZero() || asked && time.Since(due) > time.Minute {
			t.Errorf("%s: keys are due at %v, %v", body, due, err)
		}
		for _, k := range a.call(200, "GET", "/v1/signingKeys", "")["signing_keys"].([]any) {
			key := k.(map[string]any)
			if ended := key["sign_end_time"] != nil; ended != (key["name"] == "signingKeys/old") || key["sign_start_time"] == nil || key["create_time"] == nil {
				t.Errorf("%v", key)
			}
		}
	}
}
