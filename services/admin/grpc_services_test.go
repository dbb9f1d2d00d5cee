package admin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

func (a *api) dial() *grpc.ClientConn {
	a.t.Helper()
	conn, err := grpc.NewClient(a.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { conn.Close() })
	return conn
}

// serveREST puts another handler before the REST side.
func (a *api) serveREST(h http.Handler) {
	s := httptest.NewServer(h)
	a.t.Cleanup(s.Close)
	a.url = s.URL
}

// bearer is a context whose calls carry the token, if it is not empty.
func bearer(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// TestP6_HealthIsForProbes asks without a credential, as Kubernetes does.
func TestP6_HealthIsForProbes(t *testing.T) {
	ready := true
	a := newAPI(t, func(_ *Config, o *Options) { o.Ready = func(context.Context) bool { return ready } })
	health := healthpb.NewHealthClient(a.dial())
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
		ready = want == healthpb.HealthCheckResponse_SERVING
		for _, service := range []string{"", "berth.admin.v1.AdminService"} {
			got, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
			if err != nil || got.GetStatus() != want {
				t.Errorf("%q: %v, %v, want %v", service, got, err, want)
			}
		}
	}
	if _, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("a service that is not there: %v", err)
	}
	watch, err := health.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("an open stream without a credential: %v", err)
	}
}

// TestP6_ReflectionNeedsACredential lists the services as grpcurl does.
func TestP6_ReflectionNeedsACredential(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	list := func(token string) ([]string, error) {
		stream, err := reflectionpb.NewServerReflectionClient(a.dial()).ServerReflectionInfo(bearer(t.Context(), token))
		if err != nil {
			return nil, err
		}
		// A stream that was refused fails here or at the first answer.
		_ = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
		got, err := stream.Recv()
		var names []string
		for _, s := range got.GetListServicesResponse().GetService() {
			names = append(names, s.GetName())
		}
		return names, err
	}
	for token, want := range map[string]codes.Code{
		"": codes.Unauthenticated, "berth_wrong": codes.Unauthenticated, a.account("acme", "reader", "READER"): codes.PermissionDenied,
		a.account("acme", "admin", "ADMIN"): codes.OK, operatorToken: codes.OK,
	} {
		names, err := list(token)
		if status.Code(err) != want || want == codes.OK && !slices.Contains(names, "berth.admin.v1.AdminService") {
			t.Errorf("with %.12q: %v, %v, want %v", token, names, err, want)
		}
	}
}
