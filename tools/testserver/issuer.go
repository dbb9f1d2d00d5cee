package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Issuer signs tokens of jobs, as GitHub Actions, GitLab and Kubernetes do, and publishes its
// keys by OpenID Connect discovery, over TLS at 127.0.0.1. It goes with the test.
type Issuer struct {
	URL string // iss of its tokens
	CA  []byte // in PEM: what its certificate is trusted by

	server *httptest.Server
	path   string
	mu     sync.Mutex
	keys   []jose.JSONWebKey // private; the last one signs
	other  http.Handler      // answers in its place
	asked  int
}

// firstKey is an RSA key, which takes long to make; later ones are not RSA.
var firstKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// StartIssuer starts one whose URL has the path, which may be empty.
func StartIssuer(t testing.TB, path string) *Issuer {
	t.Helper()
	first, err := firstKey()
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{path: path, keys: []jose.JSONWebKey{{Key: first, KeyID: "first", Algorithm: string(jose.RS256), Use: "sig"}}}
	i.server = httptest.NewTLSServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.server.Close)
	i.URL = i.server.URL + path
	i.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})
	return i
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked++
	other, keys := i.other, i.keys
	i.mu.Unlock()
	w.Header().Set("Connection", "close") // none stays when it stops
	switch {
	case other != nil:
		other.ServeHTTP(w, r)
	case r.URL.Path == i.path+"/.well-known/openid-configuration":
		publish(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/jwks", "id_token_signing_alg_values_supported": []string{"RS256", "ES256"}})
	case r.URL.Path == i.path+"/jwks":
		var set jose.JSONWebKeySet
		for _, k := range keys {
			set.Keys = append(set.Keys, k.Public())
		}
		publish(w, set)
	default:
		http.NotFound(w, r)
	}
}

func publish(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have left
}

// Answer lets h answer in its place; nil ends that.
func (i *Issuer) Answer(h http.Handler) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.other = h
}

// Asked is how many requests it got.
func (i *Issuer) Asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// Rotate signs with another key from now on, and no longer publishes those before.
func (i *Issuer) Rotate(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = []jose.JSONWebKey{{Key: key, KeyID: "key-" + strings.ToLower(rand.Text()[:8]), Algorithm: string(jose.ES256), Use: "sig"}}
}

// Key is the key that signs now.
func (i *Issuer) Key() jose.JSONWebKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

// Token signs claims with the present key. What is missing of iss, iat, nbf and exp is added.
func (i *Issuer) Token(t testing.TB, claims map[string]any) string {
	t.Helper()
	return i.TokenBy(t, i.Key(), claims)
}

// TokenBy is Token, signed with another key.
func (i *Issuer) TokenBy(t testing.TB, key jose.JSONWebKey, claims map[string]any) string {
	t.Helper()
	now := time.Now()
	all := map[string]any{"iss": i.URL, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// GitHub are claims as GitHub Actions has them, of a push to a branch.
func GitHub(audience, repository, branch string) map[string]any {
	owner, _, _ := strings.Cut(repository, "/")
	ref := "refs/heads/" + branch
	return map[string]any{
		"aud": audience, "sub": "repo:" + repository + ":ref:" + ref, "jti": rand.Text(),
		"repository": repository, "repository_owner": owner, "repository_id": "74", "repository_visibility": "private",
		"ref": ref, "ref_type": "branch", "ref_protected": "true", "event_name": "push", "actor": "octocat", "sha": strings.Repeat("a", 40),
		"workflow": "build", "job_workflow_ref": repository + "/.github/workflows/build.yml@" + ref, "run_id": "1234", "run_attempt": "1",
		"runner_environment": "github-hosted",
	}
}

// PullRequest are those of GitHub for a pull request of the repository.
func PullRequest(audience, repository string) map[string]any {
	c := GitHub(audience, repository, "main")
	c["sub"], c["ref"], c["event_name"], c["ref_protected"] = "repo:"+repository+":pull_request", "refs/pull/7/merge", "pull_request", "false"
	return c
}

// Kubernetes are claims as a cluster has them, of the token that a pod gets for a service
// account.
func Kubernetes(audience, namespace, account string) map[string]any {
	return map[string]any{
		"aud": []string{audience}, "sub": fmt.Sprintf("system:serviceaccount:%s:%s", namespace, account), "jti": rand.Text(),
		"kubernetes.io": map[string]any{
			"namespace":      namespace,
			"serviceaccount": map[string]any{"name": account, "uid": "8b0a3f6e-0000-4000-8000-000000000001"},
			"pod":            map[string]any{"name": account + "-0", "uid": "8b0a3f6e-0000-4000-8000-000000000002"},
			"node":           map[string]any{"name": "node-1", "uid": "8b0a3f6e-0000-4000-8000-000000000003"},
		},
	}
}
