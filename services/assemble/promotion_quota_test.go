package assemble_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// hosted is what a registry holds, as the API shows it.
type hosted struct{ Bytes, Repositories, Manifests, Tags string }

// TestW266_APromotionAtTheEdgeOfAQuota fits exactly, and is refused by one byte, manifest or tag
// less; then no tag points to it.
func TestW266_APromotionAtTheEdgeOfAQuota(t *testing.T) {
	t.Parallel()
	up := testserver.StartRegistry(t, testserver.RegistryOptions{Token: true})
	w := startEmbedded(t, chainSeed(up.URL(), up.Tokens.Addr()), chained)
	registry := func(id string) hosted {
		t.Helper()
		var r struct{ Hosted hosted }
		w.admin(t, http.MethodGet, "/v1/tenants/acme/registries/"+id, nil).want(t, http.StatusOK).decode(t, &r)
		return r.Hosted
	}
	image := ocitest.NewImage(1, 1000, 2000)
	dev := w.repository(devHost, "suite", "team/app")
	dev.pushImage(t, image, "1")
	fits := registry("dev")

	prod := w.repository(prodHost, "suite", "team/app")
	promote := func(quota map[string]string, want int) answer {
		t.Helper()
		w.admin(t, http.MethodPatch, "/v1/tenants/acme/registries/prod?update_mask=quota", map[string]any{"quota": quota}).want(t, http.StatusOK)
		return w.admin(t, http.MethodPost, "/v1/tenants/acme/registries/dev/repositories/team/app:promote",
			map[string]any{"tag": "1", "to_registry": "prod"}).want(t, want)
	}
	for _, of := range []string{"bytes", "manifests"} {
		quota := map[string]string{"bytes": fits.Bytes, "manifests": fits.Manifests}
		quota[of] = less(t, quota[of])
		refused := promote(quota, http.StatusForbidden)
		if !bytes.Contains(refused.body, []byte("quota."+of)) {
			t.Errorf("%s: %s", of, refused.body)
		}
		prod.get(t, prod.at("manifests/1")).want(t, http.StatusNotFound)
		if held := registry("prod"); held.Tags != "0" {
			t.Errorf("%s: prod holds %+v", of, held)
		}
	}
	promote(map[string]string{"bytes": fits.Bytes, "manifests": fits.Manifests, "tags": "1", "repositories": "1"}, http.StatusOK)
	prod.wantImage(t, "1", image)
	if held := registry("prod"); held != fits {
		t.Errorf("prod holds %+v, and dev %+v", held, fits)
	}
	refused := w.admin(t, http.MethodPost, "/v1/tenants/acme/registries/dev/repositories/team/app:promote",
		map[string]any{"tag": "1", "to_registry": "prod", "to_tag": "2"}).want(t, http.StatusForbidden)
	if !bytes.Contains(refused.body, []byte("quota.tags")) {
		t.Errorf("%s", refused.body)
	}
	prod.get(t, prod.at("manifests/2")).want(t, http.StatusNotFound)
	if held := registry("prod"); held != fits {
		t.Errorf("after a refusal, prod holds %+v, and dev %+v", held, fits)
	}
	w.stop(t)
	w.wantSound(t)
}

// less is a number less one.
func less(t *testing.T, number string) string {
	t.Helper()
	var n int64
	if _, err := fmt.Sscan(number, &n); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(n - 1)
}
