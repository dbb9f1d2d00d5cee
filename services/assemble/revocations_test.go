package assemble_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// revocable are tokens of the accounts of rulesSeed whose tokens a change revokes, for each
// node.
type revocable struct {
	w      *world
	tokens map[string][]repository // by account
	kept   []repository            // of an account that no change is about
}

// revocations are the changes that revoke the tokens of an account.
var revocations = map[string]func(t *testing.T, w *world, account string) answer{
	"key-deleted": func(t *testing.T, w *world, account string) answer {
		t.Helper()
		return w.admin(t, http.MethodDelete, account+"/keys/key", nil)
	},
	"role-changed": func(t *testing.T, w *world, account string) answer {
		t.Helper()
		return w.admin(t, http.MethodPatch, account, map[string]any{"role": "MEMBER"})
	},
	"disabled": func(t *testing.T, w *world, account string) answer {
		t.Helper()
		return w.admin(t, http.MethodPatch, account, map[string]any{"disabled": true})
	},
	"revoked": func(t *testing.T, w *world, account string) answer {
		t.Helper()
		return w.admin(t, http.MethodPost, account+":revokeTokens", map[string]any{})
	},
	"deleted": func(t *testing.T, w *world, account string) answer {
		t.Helper()
		return w.admin(t, http.MethodDelete, account, nil)
	},
}

// revocable gets the tokens, and uses them.
func (w *world) revocable(t *testing.T, img ocitest.Image) revocable {
	t.Helper()
	w.repository(devHost, "suite", "foo/app").pushImage(t, img, "1")
	r := revocable{w: w, tokens: map[string][]repository{}}
	for _, n := range w.nodes {
		at := w.through(t, n)
		r.kept = append(r.kept, at.withToken(t, at.repository(devHost, "suite", "foo/app")))
		for account := range revocations {
			r.tokens[account] = append(r.tokens[account], at.withToken(t, at.repository(devHost, account, "foo/app")))
		}
	}
	for _, tokens := range r.tokens {
		for _, token := range tokens {
			token.get(t, token.at("manifests/1")).want(t, http.StatusOK)
		}
	}
	return r
}

// wantRevoked makes the changes, and fails the test where a token is taken 5 s later.
func (r revocable) wantRevoked(t *testing.T) {
	t.Helper()
	for account, change := range revocations {
		change(t, r.w, "/v1/tenants/acme/serviceAccounts/"+account).want(t, http.StatusOK)
		end := time.Now().Add(5 * time.Second) // for all nodes
		for i, token := range r.tokens[account] {
			await.True(t, time.Until(end), fmt.Sprintf("node %d refuses the token of %s", i, account), func() bool {
				return token.get(t, token.at("manifests/1")).status == http.StatusUnauthorized
			})
		}
	}
	for _, token := range r.kept {
		token.get(t, token.at("manifests/1")).want(t, http.StatusOK)
	}
}
