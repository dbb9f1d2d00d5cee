package assemble_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestG10_Adoption_Embedded pushes only manifests, in one process on its directory.
func TestG10_Adoption_Embedded(t *testing.T) {
	pushManifests(t, func(seed string) *world { return startEmbedded(t, seed, chained) })
}

// TestG10_Adoption_OnServers does in one process on servers.
func TestG10_Adoption_OnServers(t *testing.T) {
	pushManifests(t, func(seed string) *world { return startOnServers(t, seed, "", chained) })
}

// TestG10_Adoption_Whole does in three processes that share a Redis.
func TestG10_Adoption_Whole(t *testing.T) {
	pushManifests(t, func(seed string) *world { return startWhole(t, seed, testserver.StartRedis(t).URL(), chained) })
}

// TestG10_Adoption_Split does in split services on three nodes.
func TestG10_Adoption_Split(t *testing.T) {
	pushManifests(t, func(seed string) *world { return startSplit(t, seed, "", chained) })
}

// pushManifests pushes to dev nothing but the index of images that prod has, and
// that the upstream gave: as clients do that a HEAD told that all else is there.
func pushManifests(t *testing.T, start func(seed string) *world) {
	up := testserver.StartRegistry(t, testserver.RegistryOptions{Token: true})
	const team, remote, never, only = "team/app", "library/app", "library/never", "team/only"
	prods, cached, unseen := ocitest.NewImage(1, 1000, 2000), ocitest.NewImage(2, 1000, 3000), ocitest.NewImage(3, 1000)
	up.Push(t, remote, cached, "1")
	up.Push(t, never, unseen, "1")
	w := start(chainSeed(up.URL(), up.Tokens.Addr()))
	in := func(host, name string) repository { return w.repository(host, "suite", name) }

	in(prodHost, team).pushImage(t, prods, "1")
	in(prodHost, only).pushImage(t, prods, "1")
	in(devHost, team).putManifest(t, "mine", made(prods.Index)).want(t, http.StatusCreated)

	w.repository(devHost, "reader", remote).wantImage(t, "1", cached)
	w.stored(t, remote, cached)
	in(devHost, remote).putManifest(t, "mine", made(cached.Index)).want(t, http.StatusCreated)

	// What only the upstream has is asked of the client, who then has it stored.
	refused := in(devHost, never).putManifest(t, "mine", made(unseen.Index)).want(t, http.StatusNotFound).wantCode(t, "MANIFEST_BLOB_UNKNOWN")
	if !bytes.Contains(refused.body, []byte(unseen.Manifest.Digest.String())) {
		t.Errorf("%s does not name what is missing", refused.body)
	}
	in(devHost, never).pushImage(t, unseen, "mine")

	w.admin(t, http.MethodPatch, "/v1/tenants/acme/registries/dev", map[string]any{"upstream_group": ""}).want(t, http.StatusOK)
	up.Stop()
	gone := in(devHost, only)
	soon(t, "dev to have no chain any more", func() bool {
		return gone.get(t, gone.at("manifests/1")).status == http.StatusNotFound
	})
	w.admin(t, http.MethodDelete, "/v1/tenants/acme/registries/prod/repositories/"+team, nil).want(t, http.StatusOK)
	for name, img := range map[string]ocitest.Image{team: prods, remote: cached, never: unseen} {
		in(devHost, name).wantImage(t, "mine", img)
		if tags, _ := in(devHost, name).tags(t, ""); len(tags) != 1 || tags[0] != "mine" {
			t.Errorf("%s has the tags %v", name, tags)
		}
	}
	w.stop(t)
	w.wantSound(t)
}
