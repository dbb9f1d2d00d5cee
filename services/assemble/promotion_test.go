package assemble_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestW156_Promotions_Embedded(t *testing.T) {
	t.Parallel()
	promotions(t, func(seed string) *world { return startEmbedded(t, seed, chained) })
}

func TestW156_Promotions_OnServers(t *testing.T) {
	t.Parallel()
	promotions(t, func(seed string) *world { return startOnServers(t, seed, "", chained) })
}

// promotions promotes what a registry hosts and what its chain has cached, and then deletes
// where it came from.
func promotions(t *testing.T, start func(seed string) *world) {
	up := testserver.StartRegistry(t, testserver.RegistryOptions{Token: true})
	const remote, never = "library/app", "library/never"
	cached, unseen, hosted := ocitest.NewImage(2, 1000, 3000), ocitest.NewImage(3, 1000), ocitest.NewImage(1, 1000, 2000)
	up.Push(t, remote, cached, "1")
	up.Push(t, never, unseen, "1")
	w := start(chainSeed(up.URL(), up.Tokens.Addr()))
	in := func(host, name string) repository { return w.repository(host, "suite", name) }
	promote := func(name string, body map[string]any, want int) answer {
		t.Helper()
		return w.admin(t, http.MethodPost, "/v1/tenants/acme/registries/dev/repositories/"+name+":promote", body).want(t, want)
	}

	dev := in(devHost, "team/app")
	dev.pushImage(t, hosted, "1")
	sbom := dev.push(t, dev.referring(t, made(hosted.Index), "application/vnd.example.sbom", nil))
	signature := dev.push(t, dev.referring(t, sbom, "application/vnd.example.signature", nil))
	old := dev.push(t, dev.image(t, nil), "sha256-"+made(hosted.Manifest).Digest.Encoded()+".sig")
	promote("team/app", map[string]any{"tag": "1", "to_registry": "prod", "to_tag": "stable"}, http.StatusOK)
	promote("team/app", map[string]any{"tag": "1", "to_registry": "prod", "to_tag": "stable"}, http.StatusOK)

	refused := promote(never, map[string]any{"tag": "1", "to_registry": "prod"}, http.StatusBadRequest)
	if !bytes.Contains(refused.body, []byte("NOT_PROMOTABLE")) || !bytes.Contains(refused.body, []byte(unseen.Manifest.Digest.String())) {
		t.Errorf("%s", refused.body)
	}
	var dry struct{ Missing []string }
	promote(never, map[string]any{"tag": "1", "to_registry": "prod", "validate_only": true}, http.StatusOK).decode(t, &dry)
	if len(dry.Missing) != 1 || dry.Missing[0] != unseen.Manifest.Digest.String() {
		t.Errorf("missing are %q", dry.Missing)
	}
	promote("library/none", map[string]any{"tag": "1", "to_registry": "prod"}, http.StatusNotFound)

	w.repository(devHost, "reader", remote).wantImage(t, "1", cached)
	w.stored(t, remote, cached)
	promote(remote, map[string]any{"tag": "1", "to_registry": "prod", "to_repository": "base/app"}, http.StatusOK)
	promote(remote, map[string]any{"tag": "1", "to_tag": "mine"}, http.StatusOK) // into the registry itself

	up.Stop()
	w.admin(t, http.MethodDelete, "/v1/tenants/acme/registries/dev/repositories/team/app", nil).want(t, http.StatusOK)
	w.admin(t, http.MethodPost, "/v1/tenants/acme/upstreams/ghcr:purge", map[string]any{}).want(t, http.StatusOK)
	w.collect(t)
	prod := in(prodHost, "team/app")
	prod.wantImage(t, "stable", hosted)
	prod.wantReferrers(t, prod.at("referrers/%s", hosted.Index.Digest), sbom)
	prod.wantReferrers(t, prod.at("referrers/%s", sbom.Digest), signature)
	prod.wantManifest(t, "sha256-"+made(hosted.Manifest).Digest.Encoded()+".sig", old)
	for _, m := range []manifest{sbom, signature, old} {
		for _, d := range m.blobs(t) {
			prod.get(t, prod.at("blobs/%s", d)).want(t, http.StatusOK)
		}
	}
	in(prodHost, "base/app").wantImage(t, "1", cached)
	in(devHost, remote).wantImage(t, "mine", cached)
	w.stop(t)
	w.wantSound(t)
}
