package testserver_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/tools/testserver"
)

func TestE1_SinkSeesEveryConnection(t *testing.T) {
	s := testserver.StartSink(t, "127.0.0.1", "127.0.0.2")
	if got := s.Accepted(); got != 0 || s.Bytes() != 0 {
		t.Errorf("before anything: %d connections, %d bytes", got, s.Bytes())
	}
	const each = 20
	for range each {
		for _, addr := range s.Addrs() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
	}
	if got := s.Accepted(); got != 2*each || s.Bytes() != 0 {
		t.Errorf("%d connections, %d bytes; want %d, 0", got, s.Bytes(), 2*each)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/v2/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("user", "password")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := s.Received(); !strings.Contains(got, "GET /v2/ HTTP/1.1\r\n") || !strings.Contains(got, "Authorization: Basic ") {
		t.Errorf("received %q", got)
	}
	waiting, err := net.Dial("tcp", s.Addrs()[0]) // still open when the test ends
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { waiting.Close() })
	if got := s.Accepted(); got != 2*each+2 {
		t.Errorf("%d connections, want %d", got, 2*each+2)
	}
}
