package boot

import (
	"context"
	"net"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// receiver is an OTLP receiver that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	got chan *collector.ExportTraceServiceRequest
}

func (r receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.got <- req
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestSpansReachTheReceiver(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := receiver{got: make(chan *collector.ExportTraceServiceRequest, 1)}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	served := make(chan error)
	go func() { served <- server.Serve(socket) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	tracing, err := newTracing(t.Context(), Config{OTELEndpoint: "http://" + socket.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracing.Tracer("test").Start(t.Context(), "GET blob")
	span.End()
	if err := tracing.Close(t.Context()); err != nil { // sends what is held
		t.Fatal(err)
	}

	spans := (<-r.got).ResourceSpans
	if name := spans[0].ScopeSpans[0].Spans[0].Name; name != "GET blob" {
		t.Errorf("got the span %q", name)
	}
	service := ""
	for _, a := range spans[0].Resource.Attributes {
		if a.Key == "service.name" {
			service = a.Value.GetStringValue()
		}
	}
	if service != "berth" {
		t.Errorf("service.name = %q", service)
	}
}

func TestNoReceiverNoSpans(t *testing.T) {
	tracing, err := newTracing(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracing.Tracer("test").Start(t.Context(), "x")
	if span.IsRecording() {
		t.Error("a span is recorded without a receiver")
	}
	if err := tracing.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
