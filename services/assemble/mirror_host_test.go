package assemble_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/tools/testserver"
)

// mirrorSeed has an upstream that no anonymous caller is served from.
func mirrorSeed(up *testserver.Registry) string {
	return fmt.Sprintf(`
tenants:
  - id: acme
    registries: [{id: prod}]
    upstreams:
      - {id: hub, url: %q, username: %q, password_file: upstream-password, auth_hosts: [%q], host_aliases: [docker.io]}
    upstream_groups:
      - id: chain
        members: [{registry: main}, {registry: prod, delegate: true}, {upstream: hub}]
    service_accounts:
      - {id: suite, role: ADMIN, keys: [{id: key, secret_file: secret}]}
`, up.URL(), testserver.RegistryUser, up.Tokens.Addr())
}

// mirrorUpstream is a registry with library/app:1.
func mirrorUpstream(t *testing.T) (*testserver.Registry, ocitest.Image) {
	t.Helper()
	up, img := testserver.StartRegistry(t, testserver.RegistryOptions{Token: true}), ocitest.NewImage(60, 1000, 30_000)
	up.Push(t, "library/app", img, "1", "later")
	return up, img
}

// mirrorHost makes a mirror host and returns its secret name.
func (w *world) mirrorHost(t *testing.T, id string, body map[string]any) string {
	t.Helper()
	var made struct{ Host string }
	w.admin(t, http.MethodPost, "/v1/tenants/acme/mirrorHosts?mirror_host_id="+id, body).want(t, http.StatusOK).decode(t, &made)
	return made.Host
}

// mirrored is a repository at a mirror host, for a client without a credential.
func (w *world) mirrored(host, name string) repository {
	return repository{deployment{base: w.registry(host), client: w.client}, name}
}

func TestV62_MirrorHostsServePullsOfTheirTargetAndNothingElse(t *testing.T) {
	up, img := mirrorUpstream(t)
	w := startEmbedded(t, mirrorSeed(up), chained)
	mains, prods := ocitest.NewImage(61, 1000), ocitest.NewImage(62, 1000)
	w.repository("acme.localhost", "suite", "team/main").pushImage(t, mains, "1")
	w.repository("prod.acme.localhost", "suite", "team/prod").pushImage(t, prods, "1")
	hub := w.mirrorHost(t, "engines", map[string]any{"upstream": "hub"})

	app := w.mirrored(hub, "library/app")
	app.get(t, "/v2/").want(t, http.StatusOK).wantNoHeader(t, "WWW-Authenticate").wantBody(t, []byte("{}\n"))
	app.head(t, app.at("manifests/1")).want(t, http.StatusOK)
	app.wantImage(t, "1", img)
	app.get(t, app.at("manifests/1"), "Authorization", "Bearer x").want(t, http.StatusOK) // which does not count
	app.get(t, app.at("manifests/1?ns=docker.io")).want(t, http.StatusOK).wantHeader(t, "OCI-Namespace", "docker.io")
	app.get(t, app.at("manifests/1?ns=ghcr.io")).want(t, http.StatusNotFound)

	d := img.Manifest.Digest.String()
	for _, q := range []request{
		{method: http.MethodPost, target: app.at("blobs/uploads/")},
		{method: http.MethodPut, target: app.at("manifests/2"), body: img.Manifest.Bytes},
		{method: http.MethodDelete, target: app.at("manifests/%s", d)},
		{method: http.MethodGet, target: app.at("tags/list")},
		{method: http.MethodGet, target: "/v2/_catalog"},
		{method: http.MethodPost, target: app.at("manifests/1")},
	} {
		app.send(t, q).want(t, http.StatusForbidden).wantCode(t, "DENIED").wantNoHeader(t, "WWW-Authenticate")
	}
	for _, path := range []string{app.at("referrers/%s", d), "/token", "/token/jwks", "/token?scope=repository:library/app:pull", "/v1/tenants", "/"} {
		app.get(t, path).want(t, http.StatusNotFound).wantNoHeader(t, "WWW-Authenticate")
	}
	app.send(t, request{method: http.MethodPost, target: "/v2/"}).want(t, http.StatusMethodNotAllowed)

	// What the tenant hosts comes by a group that has it, from members that let the host.
	for _, name := range []string{"team/main", "team/prod"} {
		hosted := w.mirrored(hub, name)
		hosted.get(t, hosted.at("manifests/1")).want(t, http.StatusNotFound)
	}
	chain := w.mirrorHost(t, "chained", map[string]any{"upstream_group": "chain"})
	w.mirrored(chain, "team/prod").wantImage(t, "1", prods)
	w.mirrored(chain, "library/app").wantImage(t, "1", img)
	main := w.mirrored(chain, "team/main")
	main.get(t, main.at("manifests/1")).want(t, http.StatusNotFound)
	w.repository("acme.localhost", "suite", "team/main").wantImage(t, "1", mains)
}

func TestV66_ACachedOnlyMirrorHostAsksNoUpstream(t *testing.T) {
	up, img := mirrorUpstream(t)
	w := startEmbedded(t, mirrorSeed(up), chained)
	cached := w.mirrored(w.mirrorHost(t, "cached", map[string]any{"upstream": "hub", "cached_only": true}), "library/app")
	cached.get(t, cached.at("manifests/1")).want(t, http.StatusNotFound)
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("the upstream saw %d requests", n)
	}
	full := w.mirrorHost(t, "full", map[string]any{"upstream": "hub"})
	w.mirrored(full, "library/app").wantImage(t, "1", img)
	soon(t, "the cache to have the image", func() bool { return cached.pull("1", img) == nil })
	cached.get(t, cached.at("manifests/later")).want(t, http.StatusNotFound)
}

// TestV67_MirrorHostsEndEverywhere on nodes that front and proxy apart.
func TestV67_MirrorHostsEndEverywhere(t *testing.T) {
	up, img := mirrorUpstream(t)
	redis := testserver.StartRedis(t)
	w := startSplit(t, mirrorSeed(up), redis.URL(), chained)
	const path = "/v1/tenants/acme/mirrorHosts/engines"
	first := w.mirrorHost(t, "engines", map[string]any{"upstream": "hub"})
	var rotated struct{ Host string }
	w.admin(t, http.MethodPost, path+":rotate", map[string]any{}).want(t, http.StatusOK).decode(t, &rotated)
	chain := w.mirrorHost(t, "chained", map[string]any{"upstream_group": "chain"})
	for _, host := range []string{first, rotated.Host, chain} {
		w.mirrored(host, "library/app").wantImage(t, "1", img)
		app := w.mirrored(host, "library/app")
		app.get(t, app.at("tags/list")).want(t, http.StatusForbidden)
	}
	if first == rotated.Host || rotated.Host == "" {
		t.Error("the name is not another one")
	}
	keys := fmt.Sprint(redis.Do("KEYS", "*"))
	for _, host := range []string{first, rotated.Host, chain} {
		if label, _, _ := strings.Cut(host, "."); strings.Contains(keys, label) {
			t.Errorf("a key of Redis has the name: %s", keys)
		}
	}
	w.admin(t, http.MethodPost, path+":rotate", map[string]any{"overlap": "0s"}).want(t, http.StatusOK)
	ended := func(host string) func() bool {
		return func() bool {
			for range 6 { // of three registries behind the edge
				if a := w.mirrored(host, "x").get(t, "/v2/"); a.status != http.StatusNotFound {
					return false
				}
			}
			return true
		}
	}
	for _, host := range []string{first, rotated.Host} {
		soon(t, "the names before to end", ended(host))
	}
	began := time.Now()
	w.admin(t, http.MethodDelete, "/v1/tenants/acme/mirrorHosts/chained", nil).want(t, http.StatusOK)
	soon(t, "the deleted host to end", ended(chain))
	if d := time.Since(began); d > tenant.CacheTTL+time.Second {
		t.Errorf("it ended after %s", d)
	}
}
