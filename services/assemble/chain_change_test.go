package assemble_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestE8_ChangesAreSeenByAllNodes changes a chain through the admin API of one
// node: it goes by the change at once, the others do as soon as Redis tells them
// of it, or, without one, before what they remember is too old.
func TestE8_ChangesAreSeenByAllNodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		redis bool
		limit time.Duration // for the other nodes
	}{
		"told by Redis": {true, time.Second},
		"by themselves": {false, tenant.CacheTTL + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var redis string
			if c.redis {
				redis = testserver.StartRedis(t).URL()
			}
			up := testserver.StartRegistry(t, testserver.RegistryOptions{Token: true})
			w := startWhole(t, chainSeed(up.URL(), up.Tokens.Addr()), redis, chained)
			change(t, w, up, c.limit)
			w.stop(t)
			w.wantSound(t)
		})
	}
}

// change goes through what can change, one after the other.
func change(t *testing.T, w *world, up *testserver.Registry, limit time.Duration) {
	t.Helper()
	const private = "library/private"
	img := ocitest.NewImage(20, 1000, 20_000)
	up.Push(t, private, img, "1")
	var nodes []repository
	for _, n := range w.nodes {
		nodes = append(nodes, w.through(t, n).repository(devHost, "reader", private))
	}
	here := nodes[0] // where the change is made
	status := func(r repository, reference string) int {
		a, err := r.try(request{method: http.MethodGet, target: r.at("%s", reference)})
		if err != nil {
			t.Fatal(err)
		}
		return a.status
	}
	// everywhere waits until the nodes answer so, and says how long that took.
	everywhere := func(what string, good func(status int) bool, references ...string) {
		t.Helper()
		began := time.Now()
		for _, reference := range references {
			if s := status(here, reference); !good(s) {
				t.Errorf("%s: the node that was told answers %d for %s", what, s, reference)
			}
		}
		for _, r := range nodes[1:] {
			for _, reference := range references {
				await.True(t, limit, what, func() bool { return good(status(r, reference)) })
			}
		}
		t.Logf("%s: everywhere after %s", what, time.Since(began).Round(time.Millisecond))
	}
	is := func(want int) func(int) bool { return func(s int) bool { return s == want } }
	ghcr := func(method, action string, body any) {
		t.Helper()
		w.admin(t, method, "/v1/tenants/acme/upstreams/ghcr"+action, body).want(t, http.StatusOK)
	}
	tag, byDigest, layer := "manifests/1", "manifests/"+img.Manifest.Digest.String(), "blobs/"+img.Layers[1].Digest.String()
	all := []string{tag, byDigest, layer}
	pulled := func() {
		t.Helper()
		for _, r := range nodes {
			r.wantImage(t, "1", img)
		}
		w.stored(t, private, img)
	}

	// Content that a credential gave goes with it (E8, E16), and comes with the next.
	pulled()
	ghcr(http.MethodPatch, "", map[string]any{"password": "no longer the one"})
	everywhere("the password is another", is(http.StatusForbidden), all...)
	ghcr(http.MethodPatch, "", map[string]any{"password": testserver.RegistryPassword})
	everywhere("the password is right again", is(http.StatusOK), all...)
	pulled()
	ghcr(http.MethodPatch, "", map[string]any{"username": "", "password": ""})
	everywhere("there is no password", is(http.StatusNotFound), all...)
	ghcr(http.MethodPatch, "", map[string]any{"username": testserver.RegistryUser, "password": testserver.RegistryPassword})
	everywhere("there is one again", is(http.StatusOK), all...)

	// So does what the group does not ask for any more.
	group := func(members ...map[string]any) {
		t.Helper()
		w.admin(t, http.MethodPatch, "/v1/tenants/acme/upstreamGroups/chain", map[string]any{"members": members}).want(t, http.StatusOK)
	}
	group(map[string]any{"registry": "prod"})
	everywhere("the group has no upstream", is(http.StatusNotFound), all...)
	group(map[string]any{"registry": "prod"}, map[string]any{"upstream": "ghcr"})
	everywhere("the group has it again", is(http.StatusOK), all...)

	// What is purged is fetched again.
	pulled()
	up.Forget()
	ghcr(http.MethodPost, ":purge", map[string]any{"repository": private})
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("a purge asks the upstream %d times", n)
	}
	pulled()
	if n := answered(up, "/v2/"+private+"/manifests/1"); n == 0 || n > len(nodes) {
		t.Errorf("after a purge the upstream was asked %d times for the tag", n)
	}

	// A tag that moved is seen when it is time, or at once where that is asked for.
	moved := ocitest.NewImage(21, 1000)
	up.Push(t, private, moved, "1")
	here.wantImage(t, "1", img)
	var refreshed struct{ Outcome, Digest string }
	w.admin(t, http.MethodPost, "/v1/tenants/acme/upstreams/ghcr:refresh", map[string]any{"repository": private, "reference": "1"}).
		want(t, http.StatusOK).decode(t, &refreshed)
	if refreshed.Digest != moved.Index.Digest.String() {
		t.Errorf("refreshed: %+v", refreshed)
	}
	for _, r := range nodes {
		r.wantImage(t, "1", moved)
	}
}
