package assemble_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot"
)

// journal is a log in JSON that is read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// access returns the access lines.
func (j *journal) access(t *testing.T) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for text := range strings.Lines(j.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if line["msg"] == "request" {
			lines = append(lines, line)
		}
	}
	return lines
}

// startJournaled is startEmbedded with a log to look at.
func startJournaled(t *testing.T, seed string, edits ...edit) (*world, *journal) {
	t.Helper()
	c := seeded(t, boot.Default(), seed)
	c.DataDir = filepath.Join(t.TempDir(), "data")
	c.OperatorToken = boot.NewSecret(secret)
	j := &journal{}
	log, err := boot.NewLogger(j, c)
	if err != nil {
		t.Fatal(err)
	}
	n, err := launchLogging(log, onFreePorts(edited(t, c, edits)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.stop(t) })
	return newWorld(t, n.at("data_addr"), n), j
}

const logSeed = `
tenants:
  - id: uploads
    quota_bytes: 1
    registries:
      - id: shut
        read_only: true
    service_accounts:
      - {id: suite, role: ADMIN, keys: [{id: key, secret_file: secret}]}
      - {id: reader, role: READER, keys: [{id: key, secret_file: secret}]}
`

// TestM1_RefusalsSayWhy sends what is refused, and looks at the access line of
// each. A secret is in none of them, wherever it was sent.
func TestM1_RefusalsSayWhy(t *testing.T) {
	w, log := startJournaled(t, logSeed)
	const canary = "canary-secret-0123456789-0123456789-Z"
	basic := func(name, secret string) http.Header {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(name, secret)
		return r.Header
	}
	nobody := repository{deployment{base: w.registry(uploadsHost), client: w.client}, "app"}
	elsewhere := repository{deployment{base: w.registry("unknown.localhost"), client: w.client}, "app"}
	suite, reader := w.repository(uploadsHost, "suite", "app"), w.repository(uploadsHost, "reader", "app")
	large := strings.Repeat("x", 5000)

	for _, c := range []struct {
		what string
		by   repository
		request
		want map[string]any
	}{
		{"no credential", nobody, request{target: "/v2/app/manifests/1"}, map[string]any{
			"status": 401.0, "code": "UNAUTHORIZED", "principal": "anonymous", "scope": "repository:app:pull",
		}},
		{"a wrong secret", nobody, request{target: "/v2/app/manifests/1", header: basic("suite", canary)}, map[string]any{
			"status": 401.0, "code": "UNAUTHORIZED", "principal": "anonymous", "tried": "suite", "scope": "repository:app:pull",
		}},
		{"a secret for a name", nobody, request{target: "/token?scope=repository:app:pull", header: basic(canary, "x")}, map[string]any{
			"status": 401.0, "code": "UNAUTHORIZED", "tried": "(37 characters, not a valid account name)", "scope": "repository:app:pull",
		}},
		{"a wrong token", nobody, request{target: "/v2/app/manifests/1", header: headers("Authorization", "Bearer "+canary)}, map[string]any{
			"status": 401.0, "code": "UNAUTHORIZED", "principal": "anonymous",
		}},
		{"secrets in the query", nobody, request{target: "/token?service=" + canary + "&password=" + canary}, map[string]any{
			"status": 400.0, "code": "UNSUPPORTED", "reason": "REQUEST_INVALID",
		}},
		{"no right", reader, request{method: http.MethodPost, target: "/v2/app/blobs/uploads/"}, map[string]any{
			"status": 403.0, "code": "DENIED", "principal": "serviceAccounts/reader", "scope": "repository:app:pull,push",
		}},
		{"nothing there", suite, request{target: "/v2/app/manifests/1"}, map[string]any{
			"status": 404.0, "code": "NAME_UNKNOWN", "principal": "serviceAccounts/suite", "scope": "repository:app:pull",
		}},
		{"HEAD", suite, request{method: http.MethodHead, target: "/v2/app/manifests/1"}, map[string]any{
			"status": 404.0, "code": "NAME_UNKNOWN", "scope": "repository:app:pull",
		}},
		{"no such method", suite, request{method: http.MethodPatch, target: "/v2/app/manifests/1"}, map[string]any{
			"status": 405.0, "code": "UNSUPPORTED",
		}},
		{"a bad name", suite, request{target: "/v2/UPPER/manifests/1"}, map[string]any{"status": 400.0, "code": "NAME_INVALID"}},
		{"no such host", elsewhere, request{target: "/v2/"}, map[string]any{"status": 404.0, "code": "NAME_UNKNOWN", "reason": "HOST_UNKNOWN", "principal": "anonymous"}},
		{"long text", suite, request{target: "/v2/" + large + "/manifests/1", header: headers("User-Agent", large)}, map[string]any{"status": 400.0}},
	} {
		t.Run(c.what, func(t *testing.T) {
			before := len(log.access(t))
			a := c.by.send(t, c.request)
			await.True(t, 10*time.Second, "the access line", func() bool { return len(log.access(t)) > before })
			line := log.access(t)[before]
			if got := float64(a.status); got != line["status"] {
				t.Errorf("status %v, the line says %v", got, line["status"])
			}
			for key, want := range c.want {
				if line[key] != want {
					t.Errorf("%s is %v, want %v", key, line[key], want)
				}
			}
			for _, key := range []string{"code", "reason", "detail", "principal", "request_id"} {
				if line[key] == nil || line[key] == "" {
					t.Errorf("no %s in %v", key, line)
				}
			}
			for key, value := range line {
				if text, ok := value.(string); ok && len(text) > 1<<10+40 {
					t.Errorf("%s has %d bytes", key, len(text))
				}
			}
		})
	}
	whole := describe("", []byte("0123456789"))
	before := len(log.access(t))
	quota := suite.send(t, request{method: http.MethodPost, target: "/v2/app/blobs/uploads/?digest=" + whole.Digest.String(), body: []byte("0123456789")})
	await.True(t, 10*time.Second, "the access line", func() bool { return len(log.access(t)) > before })
	line := log.access(t)[before]
	if quota.status != http.StatusForbidden || line["code"] != "DENIED" || line["reason"] != "QUOTA_EXCEEDED" || line["scope"] != "repository:app:pull,push" {
		t.Errorf("over the quota: %d, %v", quota.status, line)
	}
	for _, text := range []string{canary, accountSecret, secret} {
		if strings.Contains(log.String(), text) {
			t.Errorf("B16: %s is in the log", text)
		}
	}
}
