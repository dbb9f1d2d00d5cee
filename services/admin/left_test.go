package admin

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/kit/endpoint"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot/web"
)

// A client that leaves is no failure: 499 in the log, by both transports.
func TestS18_ClientsThatLeaveAreNoFailures(t *testing.T) {
	var log lockedBuffer
	reached := make(chan struct{}, 1)
	a := newAPI(t, func(_ *Config, o *Options) {
		o.Log = slog.New(slog.NewJSONHandler(&log, nil))
		o.Middlewares = append(o.Middlewares, func(string) endpoint.Middleware {
			return func(endpoint.Endpoint) endpoint.Endpoint {
				return func(ctx context.Context, _ any) (any, error) {
					reached <- struct{}{}
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
		})
	})
	a.serveREST(web.Middleware{
		Listener: "admin", Log: slog.New(slog.NewJSONHandler(&log, nil)), Tracer: noop.NewTracerProvider().Tracer(""), Metrics: web.NewMetrics(prometheus.NewRegistry()),
	}.Wrap(a.server))
	client := pb.NewAdminServiceClient(a.dial())

	ctx, leave := context.WithCancel(t.Context())
	go func() { <-reached; leave() }()
	if _, err := client.ListTenants(bearer(ctx, operatorToken), &pb.ListTenantsRequest{}); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	ctx, leave = context.WithCancel(t.Context())
	go func() { <-reached; leave() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/v1/tenants", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
		t.Error("it was answered")
	}
	await.True(t, 20*time.Second, "both calls are in the log", func() bool { return len(accessLines(t, log.String())) >= 2 })
	for _, line := range accessLines(t, log.String()) {
		if line["status"] != 499.0 || line["level"] != "INFO" {
			t.Errorf("got %v", line)
		}
	}
	if strings.Contains(log.String(), "ERROR") {
		t.Errorf("a failure is in the log: %s", log.String())
	}
}

// Failed logins have a line with the client's address, which a trusted proxy knows.
func TestS19_FailedLoginsAreToldOf(t *testing.T) {
	var log lockedBuffer
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	a := newAPI(t, func(_ *Config, o *Options) {
		o.Log, o.Proxies = slog.New(slog.NewJSONHandler(&log, nil)), loopback
	})
	a.serveREST(web.Middleware{
		Listener: "admin", Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider().Tracer(""), Metrics: web.NewMetrics(prometheus.NewRegistry()), Proxies: loopback,
	}.Wrap(a.server))
	a.send("wrong", http.MethodGet, "/v1/tenants", "", "X-Forwarded-For: 192.0.2.7")
	a.send("", http.MethodGet, "/v1/tenants", "") // none
	client := pb.NewAdminServiceClient(a.dial())
	ctx := metadata.AppendToOutgoingContext(bearer(t.Context(), "wrong"), "x-forwarded-for", "198.51.100.1, 192.0.2.8")
	if _, err := client.ListTenants(ctx, &pb.ListTenantsRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	var told []string
	for text := range strings.Lines(log.String()) {
		var line struct{ Msg, Level, Listener, Client string }
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if line.Msg == "a login at the admin API failed" {
			told = append(told, line.Level+" "+line.Listener+" "+line.Client)
		}
	}
	if got := strings.Join(told, ", "); got != "WARN admin 192.0.2.7, WARN admin_grpc 192.0.2.8" {
		t.Errorf("got %q", got)
	}
}
