package assemble_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// rulesSeed has the chain dev → prod, base, of which base is delegated, and an account that
// may do nothing before a rule says so.
const rulesSeed = `
tenants:
  - id: acme
    registries:
      - {id: dev, upstream_group: chain}
      - {id: prod}
      - {id: base}
    upstream_groups:
      - {id: chain, members: [{registry: prod}, {registry: base, delegate: true}]}
    service_accounts:
      - {id: suite, role: ADMIN, keys: [{id: key, secret_file: secret}]}
      - {id: ci, role: MEMBER, keys: [{id: key, secret_file: secret}]}
      - {id: key-deleted, role: READER, keys: [{id: key, secret_file: secret}]}
      - {id: role-changed, role: READER, keys: [{id: key, secret_file: secret}]}
      - {id: disabled, role: READER, keys: [{id: key, secret_file: secret}]}
      - {id: revoked, role: READER, keys: [{id: key, secret_file: secret}]}
      - {id: deleted, role: READER, keys: [{id: key, secret_file: secret}]}
`

const (
	rulePath  = "/v1/tenants/acme/accessRules"
	groupPath = "/v1/tenants/acme/groups"
)

// giveRule gives ci the rule of the tests, as a member of a group: pull and push foo/img/* in
// dev.
func giveRule(t *testing.T, w *world) {
	t.Helper()
	w.admin(t, http.MethodPost, groupPath+"?group_id=dev", map[string]any{"members": []string{"serviceAccounts/ci"}}).want(t, http.StatusOK)
	w.admin(t, http.MethodPost, rulePath+"?access_rule_id=ci-images", map[string]any{
		"effect": "ALLOW", "principals": []string{"groups/dev"}, "registries": []string{"dev"},
		"repositories": []string{"foo/img/*"}, "actions": []string{"PULL", "PUSH"},
	}).want(t, http.StatusOK)
}

// TestU13_OneRuleHoldsEverywhere asks every endpoint for names that the rule has, and
// does not have, by password and by token, in every shape.
func TestU13_OneRuleHoldsEverywhere(t *testing.T) {
	t.Parallel()
	for shape, start := range map[string]func(*testing.T, string) *world{
		"embedded": func(t *testing.T, seed string) *world { t.Helper(); return startEmbedded(t, seed) },
		"whole":    func(t *testing.T, seed string) *world { t.Helper(); return startWhole(t, seed, "") },
		"split":    func(t *testing.T, seed string) *world { t.Helper(); return startSplit(t, seed, "") },
	} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			w := start(t, rulesSeed)
			giveRule(t, w)
			img := ocitest.NewImage(31, 500, 1000)
			for _, name := range []string{"foo/img/a", "foo/other", "bar/img/a", "foo/img/a/b", "foo/img"} {
				w.repository(devHost, "suite", name).pushImage(t, img, "1")
			}
			for _, name := range []string{"foo/img/p", "foo/p"} {
				w.repository(prodHost, "suite", name).pushImage(t, img, "1")
			}
			w.repository("base.acme.localhost", "suite", "foo/img/b").pushImage(t, img, "1")
			for credential, of := range map[string]func(host, name string) repository{
				"password": func(host, name string) repository { return w.repository(host, "ci", name) },
				"token": func(host, name string) repository {
					return w.withToken(t, w.repository(host, "ci", name), "bar/img/a", "foo/img/a")
				},
			} {
				t.Run(credential, func(t *testing.T) { wantRuled(t, of, img) })
			}
			w.stop(t)
			w.wantSound(t)
		})
	}
}

// wantRuled fails the test where the rule does not hold.
func wantRuled(t *testing.T, of func(host, name string) repository, img ocitest.Image) {
	t.Helper()
	index, layer := img.Index.Digest.String(), img.Layers[0].Digest.String()
	requests := []struct {
		method, path string
		allowed      int
	}{
		{http.MethodGet, "manifests/1", http.StatusOK},
		{http.MethodHead, "manifests/1", http.StatusOK},
		{http.MethodGet, "manifests/" + index, http.StatusOK},
		{http.MethodGet, "blobs/" + layer, http.StatusOK},
		{http.MethodHead, "blobs/" + layer, http.StatusOK},
		{http.MethodGet, "tags/list", http.StatusOK},
		{http.MethodGet, "referrers/" + index, http.StatusOK},
		{http.MethodPost, "blobs/uploads/", http.StatusAccepted},
		{http.MethodPut, "manifests/2", http.StatusCreated},
		{http.MethodDelete, "manifests/1", http.StatusForbidden}, // it may pull, and not delete
		{http.MethodDelete, "manifests/" + index, http.StatusForbidden},
		{http.MethodDelete, "blobs/" + layer, http.StatusForbidden},
	}
	for _, c := range []struct {
		host, name string
		allowed    bool
	}{
		{devHost, "foo/img/a", true},
		{devHost, "foo/other", false},
		{devHost, "bar/img/a", false},
		{devHost, "foo/img/a/b", false},
		{devHost, "foo/img", false},
		{devHost, "foo/p", false},
		{devHost, "missing", false},
		{prodHost, "foo/img/p", false},
		{prodHost, "foo/p", false},
	} {
		r := of(c.host, c.name)
		for _, q := range requests {
			want := http.StatusNotFound
			if c.allowed {
				want = q.allowed
			}
			sent := request{method: q.method, target: r.at("%s", q.path)}
			if q.method == http.MethodPut {
				sent.body, sent.header = img.Index.Bytes, headers("Content-Type", img.Index.MediaType)
			}
			if a := r.send(t, sent); a.status != want {
				t.Errorf("%s %s: %d, want %d: %s", c.host, a.what, a.status, want, clip(string(a.body)))
			}
		}
	}
	// Members of the chain, under names that the rule has: one that is delegated, and one that is not.
	of(devHost, "foo/img/b").get(t, "/v2/foo/img/b/manifests/1").want(t, http.StatusOK)
	of(devHost, "foo/img/p").get(t, "/v2/foo/img/p/manifests/1").want(t, http.StatusNotFound)
	// What the caller may not pull it cannot mount.
	d := digest.Digest(layer)
	of(devHost, "foo/img/a").mount(t, d, "bar/img/a").want(t, http.StatusAccepted)
	of(devHost, "foo/img/a").mount(t, d, "foo/img/a").want(t, http.StatusCreated)
	// The rule is about names of this registry, not about those of upstreams.
	of(devHost, "proxy/foo/img/a").get(t, "/v2/proxy/foo/img/a/manifests/1").want(t, http.StatusNotFound)
	for host, want := range map[string]string{devHost: `{"repositories":["foo/img/a"]}` + "\n", prodHost: ""} {
		a := of(host, "foo/img/a").get(t, "/v2/_catalog")
		if want == "" && a.status == http.StatusOK || want != "" && string(a.body) != want {
			t.Errorf("%s %s: %d %s", host, a.what, a.status, a.body)
		}
	}
}

// TestU14_ARuleTakenAwayIsGoneOnAllNodes takes the caller out of the group, and then the
// rule away, while a token that was granted by it is used on each node: within 5 s with
// Redis there, gone and lying.
func TestU14_ARuleTakenAwayIsGoneOnAllNodes(t *testing.T) {
	t.Parallel()
	for _, mode := range []testserver.RedisMode{testserver.RedisHonest, testserver.RedisRefused, testserver.RedisDropRequests} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			redis := testserver.StartLyingRedis(t, testserver.StartRedis(t).Addr())
			w := startWhole(t, rulesSeed, redis.URL())
			img := ocitest.NewImage(32, 500)
			w.repository(devHost, "suite", "foo/img/a").pushImage(t, img, "1")
			giveRule(t, w)
			nodes := w.ruledNodes(t)
			revoked := w.revocable(t, img)
			redis.SetMode(t, mode)
			revoked.wantRevoked(t)
			w.admin(t, http.MethodPatch, groupPath+"/dev?update_mask=members", map[string]any{"members": []string{}}).want(t, http.StatusOK)
			wantGone(t, nodes)
			w.admin(t, http.MethodPatch, groupPath+"/dev", map[string]any{"members": []string{"serviceAccounts/ci"}}).want(t, http.StatusOK)
			nodes = w.ruledNodes(t)
			w.admin(t, http.MethodDelete, rulePath+"/ci-images", nil).want(t, http.StatusOK)
			wantGone(t, nodes)
			w.stop(t)
			w.wantSound(t)
		})
	}
}

// ruledNodes waits until the rule acts on all nodes, and returns the repository as seen
// through each of them, with a token that was granted by the rule.
func (w *world) ruledNodes(t *testing.T) []repository {
	t.Helper()
	var nodes []repository
	await.True(t, 10*time.Second, "the rule acts everywhere", func() bool {
		nodes = nil
		for _, n := range w.nodes {
			at := w.through(t, n)
			nodes = append(nodes, at.withToken(t, at.repository(devHost, "ci", "foo/img/a")))
		}
		return !slices.ContainsFunc(nodes, func(r repository) bool { return r.get(t, r.at("manifests/1")).status != http.StatusOK })
	})
	return nodes
}

// wantGone fails the test unless all nodes refuse within 5 s what the rule gave.
func wantGone(t *testing.T, nodes []repository) {
	t.Helper()
	end := time.Now().Add(5 * time.Second) // for all nodes
	for i, r := range nodes {
		await.True(t, time.Until(end), fmt.Sprintf("node %d refuses what the rule gave", i), func() bool {
			push := request{method: http.MethodPost, target: r.at("blobs/uploads/")}
			return r.get(t, r.at("manifests/1")).status == http.StatusNotFound && r.send(t, push).status == http.StatusNotFound
		})
	}
}
