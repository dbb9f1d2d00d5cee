package assemble_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// TestW139_APolicyRunsInAWholeDeployment: a policy that is made by the API is run by the
// janitor of the deployment, on both databases.
func TestW139_APolicyRunsInAWholeDeployment(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *world{
		"embedded":   func(t *testing.T) *world { t.Helper(); return startEmbedded(t, pullsSeed) },
		"on servers": func(t *testing.T) *world { t.Helper(); return startOnServers(t, pullsSeed, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			at := w.repository("prod.acme.localhost", "suite", "team/app")
			for i := range 4 {
				at.pushImage(t, ocitest.NewImage(uint64(100+i), 1000), fmt.Sprintf("1.0.%d", i))
			}
			const policies = "/v1/tenants/acme/retentionPolicies"
			w.admin(t, "POST", policies+"?retention_policy_id=old", map[string]any{
				"registry": "prod", "mode": "ENFORCE", "rules": []map[string]any{
					{"name": "patches", "action": "KEEP", "versions": map[string]any{"patches": 2}},
					{"name": "rest", "action": "DELETE"},
				},
			}).want(t, http.StatusOK)
			w.admin(t, "POST", policies+"/old:run", map[string]any{}).want(t, http.StatusOK)
			await.True(t, 30*time.Second, "the run has ended", func() bool {
				var got struct {
					Run struct {
						EndTime string `json:"end_time"`
					} `json:"run"`
				}
				if err := json.Unmarshal(w.admin(t, "GET", policies+"/old", nil).body, &got); err != nil {
					t.Fatal(err)
				}
				return got.Run.EndTime != ""
			})
			for i := range 4 {
				want := http.StatusOK
				if i < 2 {
					want = http.StatusNotFound
				}
				at.get(t, at.at("manifests/1.0.%d", i)).want(t, want)
			}
			w.stop(t)
			w.wantSound(t)
		})
	}
}
