package admin

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/boot/web"
)

// accessLines are the access lines of a log in JSON.
func accessLines(t *testing.T, log string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for text := range strings.Lines(log) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if line["msg"] == "request" {
			found = append(found, line)
		}
	}
	return found
}

// TestM2_RefusedAdminCallsSayWhy makes calls over both transports.
func TestM2_RefusedAdminCallsSayWhy(t *testing.T) {
	var log lockedBuffer
	reg := prometheus.NewRegistry()
	metrics := web.NewMetrics(reg)
	a := newAPI(t, func(_ *Config, o *Options) { o.Log, o.Metrics = slog.New(slog.NewJSONHandler(&log, nil)), metrics })
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	reader := a.account("acme", "reader", "READER")
	client := pb.NewAdminServiceClient(a.dial())
	rest := web.Middleware{Listener: "admin", Log: slog.New(slog.NewJSONHandler(&log, nil)), Tracer: noop.NewTracerProvider().Tracer(""), Metrics: metrics}.Wrap(a.server)
	a.serveREST(rest)

	const canary = "canary-secret-of-a-body-0123456789"
	for _, c := range []struct {
		token, method, path, body string
		want                      map[string]any
	}{
		{"", "GET", "/v1/tenants", "", map[string]any{"status": 401.0, "code": "UNAUTHORIZED", "principal": "anonymous", "scope": "admin API"}},
		{canary, "GET", "/v1/tenants", "", map[string]any{"status": 401.0, "code": "UNAUTHORIZED", "principal": "anonymous"}},
		{reader, "GET", "/v1/tenants", "", map[string]any{"status": 403.0, "code": "DENIED", "reason": "DENIED", "principal": "serviceAccounts/reader", "scope": "operator"}},
		{operatorToken, "GET", "/v1/tenants/none", "", map[string]any{"status": 404.0, "code": "RESOURCE_UNKNOWN", "principal": "operator"}},
		{operatorToken, "POST", "/v1/tenants?tenant_id=acme", "{}", map[string]any{"status": 409.0, "code": "ALREADY_EXISTS"}},
		{operatorToken, "POST", "/v1/tenants/acme/upstreams?upstream_id=u", `{"password": {"x": "` + canary + `"}}`, map[string]any{"status": 400.0}},
		{operatorToken, "POST", "/v1/tenants/acme/upstreams?upstream_id=u", `{"password": ` + canary + `}`, map[string]any{"status": 400.0}},
		{operatorToken, "POST", "/v1/tenants/acme/upstreams?upstream_id=u", `{"` + canary + `": 1}`, map[string]any{"status": 400.0}},
		{operatorToken, "POST", "/v1/tenants/acme/upstreams?upstream_id=u", `{"url": "https://a.example", "username": "a", "password": ["` + canary + `"]}`, map[string]any{"status": 400.0}},
	} {
		before := len(accessLines(t, log.String()))
		a.send(c.token, c.method, c.path, c.body)
		lines := accessLines(t, log.String())
		if len(lines) != before+1 {
			t.Fatalf("%s %s: %d access lines", c.method, c.path, len(lines)-before)
		}
		line := lines[before]
		for _, key := range []string{"code", "reason", "detail", "principal", "scope"} {
			if line[key] == nil || line[key] == "" {
				t.Errorf("%s %s: no %s in %v", c.method, c.path, key, line)
			}
		}
		for key, want := range c.want {
			if line[key] != want {
				t.Errorf("%s %s: %s is %v, want %v", c.method, c.path, key, line[key], want)
			}
		}
	}

	for _, c := range []struct {
		token string
		code  codes.Code
		want  map[string]any
	}{
		{canary, codes.Unauthenticated, map[string]any{"status": 401.0, "code": "UNAUTHORIZED", "principal": "anonymous", "scope": "operator"}},
		{reader, codes.PermissionDenied, map[string]any{"status": 403.0, "code": "DENIED", "principal": "serviceAccounts/reader", "grpc_status": "PermissionDenied"}},
		{operatorToken, codes.OK, map[string]any{"status": 200.0, "principal": "operator", "path": "/berth.admin.v1.AdminService/ListTenants"}},
	} {
		before := len(accessLines(t, log.String()))
		if _, err := client.ListTenants(bearer(t.Context(), c.token), &pb.ListTenantsRequest{}); status.Code(err) != c.code {
			t.Fatal(err)
		}
		lines := accessLines(t, log.String())[before:]
		if len(lines) != 1 {
			t.Fatalf("gRPC: %d access lines", len(lines))
		}
		for key, want := range c.want {
			if lines[0][key] != want {
				t.Errorf("gRPC: %s is %v, want %v", key, lines[0][key], want)
			}
		}
	}
	for _, secret := range []string{canary, reader, operatorToken} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("B16: %s is in the log", secret)
		}
	}
	want := strings.NewReader(`
# HELP berth_login_failures_total Logins that failed: by a wrong credential, or because the account or the address failed too often before.
# TYPE berth_login_failures_total counter
berth_login_failures_total{listener="admin",reason="credential"} 1
berth_login_failures_total{listener="admin_grpc",reason="credential"} 1
`)
	if err := testutil.GatherAndCompare(reg, want, "berth_login_failures_total"); err != nil {
		t.Error(err)
	}
}
