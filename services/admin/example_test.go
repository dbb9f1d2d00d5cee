package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/admin"
)

// A tenant is made over REST and answers at its host from then on.
func Example() {
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: tenants/acme/registries/main answers at acme.localhost
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	store, err := sqlitemeta.Open(ctx, sqlitemeta.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	pattern, err := tenant.NewPattern(tenant.DotPattern, "localhost")
	if err != nil {
		return err
	}
	service, err := admin.New(admin.Config{
		Store: store, Pattern: pattern, OperatorToken: "s3cret", PageKey: []byte("16 bytes or more"),
	})
	if err != nil {
		return err
	}
	server, err := admin.NewServer(service, admin.Options{Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider()})
	if err != nil {
		return err
	}
	defer func() { _ = server.Close(ctx) }()

	call := func(method, path, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
		req.Host = "localhost:5080"
		req.Header.Set("Authorization", "Bearer s3cret")
		resp := httptest.NewRecorder()
		server.ServeHTTP(resp, req)
		return resp
	}
	call(http.MethodPost, "/v1/tenants?tenant_id=acme", `{"display_name": "Acme"}`)
	var main struct {
		Name  string   `json:"name"`
		Hosts []string `json:"hosts"`
	}
	resp := call(http.MethodGet, "/v1/tenants/acme/registries/main", "")
	if err := json.NewDecoder(resp.Body).Decode(&main); err != nil {
		return err
	}
	fmt.Println(main.Name, "answers at", main.Hosts[0])
	return nil
}
