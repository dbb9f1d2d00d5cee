package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/boot/web"
)

// A request of the admin API whose body stops ends with 408, and so does its
// connection.
func TestQ5_AdminBodyEnds(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	s := httptest.NewUnstartedServer(nil)
	s.Config = web.NewServer(web.Middleware{
		Listener: "admin", Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider().Tracer(""),
		Metrics: web.NewMetrics(prometheus.NewRegistry()), Scheme: "http", Pace: web.Pace{Grace: 200 * time.Millisecond},
	}.Wrap(a.server), slog.New(slog.DiscardHandler))
	s.Start()
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "POST /v1/tenants?tenant_id=acme HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", operatorToken)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != http.StatusRequestTimeout || body["message"] != "the request body came too slowly" {
		t.Errorf("%d %v %v", resp.StatusCode, body, err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection stays: %v", err)
	}
}
