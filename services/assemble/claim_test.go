package assemble_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// TestS66_AReleasedNameIsFree pushes to a name that an upstream serves, deletes
// what was pushed, and gives the name up: from then on the upstream answers.
func TestS66_AReleasedNameIsFree(t *testing.T) {
	index := ocitest.Extra{Annotations: map[string]string{"of": "the upstream"}}.Index().Bytes
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v2/team/app/manifests/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", oci.MediaTypeImageIndex)
		_, _ = w.Write(index)
	}))
	defer up.Close()
	w := startEmbedded(t, fmt.Sprintf(`
tenants:
  - id: acme
    registries: [{id: dev, upstream_group: chain}]
    upstreams: [{id: up, url: %q, negative_ttl: 0s}]
    upstream_groups: [{id: chain, members: [{upstream: up}]}]
    service_accounts: [{id: suite, role: ADMIN, keys: [{id: key, secret_file: secret}]}]
`, up.URL), chained)
	r := repository{deployment{base: w.registry("dev.acme.localhost"), client: w.as("suite")}, "team/app"}
	const registry = "/v1/tenants/acme/registries/dev"
	ask := func(when string, status int) {
		t.Helper()
		if a := r.get(t, r.at("manifests/of-the-upstream")); a.status != status || status == http.StatusOK && string(a.body) != string(index) {
			t.Errorf("%s: %d %s", when, a.status, a.body)
		}
	}
	for _, round := range []string{"the first time", "again"} {
		r.push(t, r.image(t, nil), "latest")
		ask("pushed "+round, http.StatusNotFound)
		w.admin(t, http.MethodPost, registry+"/nameClaims/team/app:release", map[string]any{}).want(t, http.StatusBadRequest)
		w.admin(t, http.MethodDelete, registry+"/repositories/team/app", nil).want(t, http.StatusOK)
		ask("deleted "+round, http.StatusNotFound)
		w.admin(t, http.MethodPost, registry+"/nameClaims/team/app:release", map[string]any{}).want(t, http.StatusOK)
		ask("released "+round, http.StatusOK)
	}
}

// TestS68_NoUpstreamIsAListenerOfOurs, by any name, although their network is
// allowed.
func TestS68_NoUpstreamIsAListenerOfOurs(t *testing.T) {
	w := startEmbedded(t, "tenants: [{id: acme}]", chained)
	n := w.nodes[0]
	for _, setting := range []string{"data_addr", "admin_addr", "admin_grpc_addr", "ops_addr"} {
		port := n.at(setting)[strings.LastIndex(n.at(setting), ":"):]
		for _, host := range []string{"127.0.0.1", "localhost"} {
			a := w.admin(t, http.MethodPost, "/v1/tenants/acme/upstreams?upstream_id=own", map[string]any{"url": "http://" + host + port})
			if a.status != http.StatusBadRequest || !strings.Contains(string(a.body), "refused by configuration") {
				t.Errorf("%s at %s: %d %s", setting, host, a.status, a.body)
			}
		}
	}
}
