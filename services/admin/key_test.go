package admin

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/kit"
)

func TestKeysEnd(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.account("acme", "ci", "ADMIN")
	const path = "/v1/tenants/acme/serviceAccounts/ci/keys"
	key := a.call(200, "POST", path, `{"ttl": "300s"}`)
	end, err := time.Parse(time.RFC3339, key["expire_time"].(string))
	if left := time.Until(end); err != nil || left > 300*time.Second || left < 200*time.Second {
		t.Errorf("key %v, %v", key, err)
	}
	for _, ttl := range []string{"0s", "-1s", "0.5s", "300", "soon", "999999999999s", ""} {
		a.call(400, "POST", path, `{"ttl": "`+ttl+`"}`)
	}
	if got := a.call(200, "POST", path+"?validate_only=true", ""); got["secret"] != "" {
		t.Errorf("validated: %v", got)
	}
	if keys := a.call(200, "GET", path, "")["keys"].([]any); len(keys) != 2 {
		t.Errorf("%d keys", len(keys))
	}
}

func TestKeysAreLimited(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.account("acme", "ci", "READER")
	const path = "/v1/tenants/acme/serviceAccounts/ci/keys"
	for range meta.DefaultLimits.AccountKeys - 1 {
		a.call(200, "POST", path, "")
	}
	if got := a.call(400, "POST", path, ""); reason(t, got) != string(fault.LimitReached) {
		t.Errorf("one more: %v", got)
	}
}

// lockedBuffer may be written by many at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestB16_SecretsStayOutOfLogsTracesAndEvents(t *testing.T) {
	var log lockedBuffer
	spans := tracetest.NewSpanRecorder()
	a := newAPI(t, func(_ *Config, o *Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		o.Tracer, o.Middlewares = tracer, []kit.Middleware{kit.Tracing(tracer)}
	})
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	secrets := []string{operatorToken, seedSecret}
	for i := range 10 {
		secrets = append(secrets, a.account("acme", fmt.Sprintf("admin%d", i), "ADMIN"))
		secrets = append(secrets, fmt.Sprintf("berth_wrong-canary-%d", i))
	}
	if err := a.service.Apply(t.Context(), writeSeed(t, wholeSeed, map[string]string{"ci.secret": seedSecret})); err != nil {
		t.Fatal(err)
	}
	flows := func() {
		for _, s := range secrets {
			for _, r := range [][3]string{
				{"GET", "/v1/tenants/acme", ""},
				{"GET", "/v1/tenants", ""},
				{"GET", "/v1/tenants/none", ""},
				{"POST", "/v1/tenants/acme/serviceAccounts/none/keys", `{"secret": "` + s + `"}`},
				{"POST", "/v1/tenants?tenant_id=acme", "not JSON"},
			} {
				a.send(s, r[0], r[1], r[2])
			}
			rawCall(t, a.addr, "/berth.admin.v1.AdminService/ListTenants", "Bearer "+s)
		}
	}
	flows()
	_, events := a.send(operatorToken, "GET", "/v1/tenants/acme/events?page_size=1000", "")
	if err := a.store.(interface{ Close() error }).Close(); err != nil {
		t.Fatal(err)
	}
	flows() // now everything fails
	if !strings.Contains(log.String(), "the admin API failed") || len(spans.Ended()) == 0 {
		t.Fatalf("%d spans, log %s", len(spans.Ended()), log.String())
	}
	seen := log.String() + string(events)
	for _, span := range spans.Ended() {
		seen += fmt.Sprint(span.Name(), span.Attributes(), span.Events(), span.Status())
	}
	for _, s := range secrets {
		if strings.Contains(seen, s) {
			t.Errorf("secret %s is in logs, traces or events", s)
		}
	}
}
