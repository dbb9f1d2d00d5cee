package assemble_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// sunk are the whole lines of the audit sink, which may be at work on another.
func sunk(t *testing.T, path string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	mustAll(t, err)
	var lines []map[string]any
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var one map[string]any
		mustAll(t, json.Unmarshal([]byte(line), &one))
		lines = append(lines, one)
	}
	return lines
}

// TestU85_TheSinkGetsEventsAndPulls pushes and pulls an image, and reads what the sink
// has of it. Pulls are there and not in the audit log.
func TestU85_TheSinkGetsEventsAndPulls(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	c := embeddedIn(t.TempDir())
	c.AuditSink, c.AuditPulls = boot.NewURL("file:"+path), true
	img := ocitest.NewImage(77, 500, 1000)
	serveOnce(t, c, func(n *node) {
		r := n.open(t, "app")
		r.pushImage(t, img, "v1")
		mustAll(t, r.pull("v1", img))
		await.True(t, 20*time.Second, "the sink has the push and the pull", func() bool {
			seen := map[any]bool{}
			for _, line := range sunk(t, path) {
				seen[line["verb"]] = true
			}
			return seen["tenant.create"] && seen["manifest.put"] && seen["manifest.pull"] && seen["blob.pull"]
		})
		log := string(n.admin(t, http.MethodGet, "/v1/tenants/default/events?page_size=1000", nil).want(t, http.StatusOK).body)
		if strings.Contains(log, "manifest.pull") || !strings.Contains(log, "manifest.put") {
			t.Error("pulls are in the audit log")
		}
	})
	for _, line := range sunk(t, path) {
		verb, _ := line["verb"].(string)
		if !strings.HasSuffix(verb, ".pull") {
			continue
		}
		if digest, _ := line["digest"].(string); !strings.HasPrefix(digest, "sha256:") || line["tenant"] != "default" || line["actor"] != "anonymous" ||
			line["address"] != "127.0.0.1" || line["user_agent"] == "" || line["request_id"] == "" {
			t.Errorf("%v", line)
		}
	}
}
