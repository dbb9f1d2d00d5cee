package assemble_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/berth-registry/berth/pkg/await"
)

// metrics is what Prometheus reads of a node.
func (n *node) metrics(t *testing.T) string {
	t.Helper()
	r := repository{deployment: deployment{base: "http://localhost", client: clientOf(t, n.at("ops_addr"))}}
	a := r.send(t, request{target: "/metrics"})
	a.want(t, http.StatusOK)
	return string(a.body)
}

// everyShape are those metrics that each deployment in one process has once it
// was used; the rest is of its stores.
var everyShape = []string{
	`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="404",http_route="manifest",listener="data"}`,
	`berth_http_errors_total{code="NAME_UNKNOWN",listener="data",route="manifest",status="404"}`,
	`berth_http_errors_total{code="UNAUTHORIZED",listener="admin",route="other",status="401"}`,
	`berth_login_failures_total{listener="data",reason="credential"}`,
	`berth_operation_seconds_count{operation="PutManifest",outcome="ok"}`,
	`berth_operation_seconds_count{operation="janitor.measure",outcome="ok"}`,
	`berth_meta_call_seconds_count{call="write",outcome="ok"}`,
	`berth_meta_call_seconds_count{call="read",outcome="ok"}`,
	`berth_janitor_last_run_timestamp_seconds{task="measure"}`,
	`berth_janitor_last_run_duration_seconds{task="measure"}`,
	`berth_janitor_items_total{task="measure"}`,
	`berth_janitor_errors_total{task="measure"} 0`,
	`berth_queue_length{queue="fetches"} 0`,
	"berth_fetches_running 0",
	"berth_stored_bytes ",
}

// TestM4_MetricsOfEachShape uses a deployment and reads its metrics.
func TestM4_MetricsOfEachShape(t *testing.T) {
	for name, shape := range map[string]struct {
		start func(t *testing.T) *world
		own   []string
	}{
		"embedded": {func(t *testing.T) *world { return startEmbedded(t, uploadsSeed) }, []string{`berth_queue_length{queue="meta_writer"} 0`}},
		"on servers": {func(t *testing.T) *world { return startOnServers(t, uploadsSeed, "") }, []string{
			`berth_queue_length{queue="meta_connections"} 0`, `berth_s3_request_seconds_count{operation="PutObject",status="200"}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := shape.start(t)
			suite := w.repository(uploadsHost, "suite", "app")
			suite.push(t, suite.image(t, nil), "1")
			suite.sibling("none").get(t, "/v2/none/manifests/1").want(t, http.StatusNotFound)
			wrong := repository{deployment{base: w.registry(uploadsHost), client: &http.Client{Transport: authorized{w.client.Transport, "suite", "wrong"}}}, "app"}
			wrong.get(t, "/v2/app/manifests/1").want(t, http.StatusUnauthorized)
			admin := repository{deployment: deployment{base: "http://localhost", client: clientOf(t, w.nodes[0].at("admin_addr"))}}
			admin.get(t, "/v1/tenants").want(t, http.StatusUnauthorized)
			lacking := ""
			await.True(t, 20*time.Second, "the janitor and the metrics of each request", func() bool {
				text := w.nodes[0].metrics(t)
				for _, want := range append(shape.own, everyShape...) {
					if !strings.Contains(text, want) {
						lacking = want
						return false
					}
				}
				lacking = ""
				return true
			})
			if lacking != "" {
				t.Error(lacking)
			}
			problems, err := promlint.New(bytes.NewReader([]byte(w.nodes[0].metrics(t)))).Lint()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				if strings.HasPrefix(p.Metric, "berth_") {
					t.Errorf("promlint: %s: %s", p.Metric, p.Text)
				}
			}
		})
	}
}
