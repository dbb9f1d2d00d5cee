package web

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/await"
)

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// with returns the lines that have the message.
func (l *lines) with(t *testing.T, msg string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	for text := range strings.Lines(l.text.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if line["msg"] == msg {
			found = append(found, line)
		}
	}
	return found
}

// wait returns the first lines with the message, once there are n.
func (l *lines) wait(t *testing.T, msg string, n int) []map[string]any {
	t.Helper()
	var found []map[string]any
	await.True(t, limit, fmt.Sprintf("the log says %q %d times", msg, n), func() bool {
		found = l.with(t, msg)
		return len(found) >= n
	})
	return found
}

// TestP1_FailedHandshakesAreInTheLog makes handshakes fail in each way that
// clients know, then more than are told of.
func TestP1_FailedHandshakesAreInTheLog(t *testing.T) {
	var log lines
	m, reg := newMiddleware(&log)
	s := httptest.NewUnstartedServer(m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })))
	s.Config = NewServer(s.Config.Handler, m.Log)
	s.StartTLS() // makes a certificate
	c := s.TLS.Clone()
	s.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(s.Config.Handler, m.Log)
	c = LogHandshakes(server, c, m)
	go func() { _ = server.Serve(tls.NewListener(listener, c)) }() // ends with Close
	defer server.Close()

	fail := func(config *tls.Config) {
		t.Helper()
		conn, err := tls.Dial("tcp", listener.Addr().String(), config)
		if err == nil {
			conn.Close()
			t.Error("the handshake succeeded")
		}
	}
	const told = "a TLS handshake failed"
	long := strings.Repeat("a.", 120) + "test"
	fail(&tls.Config{ServerName: "dev.acme.test"}) // does not trust the certificate
	fail(&tls.Config{ServerName: long, MaxVersion: tls.VersionTLS10, MinVersion: tls.VersionTLS10})
	probe, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	probe.Close() // is not a handshake
	plain, err := http.Get("http://" + listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	plain.Body.Close()

	found := log.wait(t, told, 3)
	byName := map[any]map[string]any{}
	for _, line := range found {
		byName[line["server_name"]] = line
		if host, _, err := net.SplitHostPort(line["client"].(string)); err != nil || host != "127.0.0.1" || line["listener"] != "data" {
			t.Errorf("got %v", line)
		}
	}
	for name, reason := range map[string]string{"dev.acme.test": "certificate", long: "version", "": "HTTP request to an HTTPS server"} {
		if line := byName[name]; line == nil || !strings.Contains(line["reason"].(string), reason) {
			t.Errorf("for the server name %q: %v, want %q", name, line, reason)
		}
	}
	for range 2 * maxHandshakeLines {
		fail(&tls.Config{ServerName: "dev.acme.test"})
	}
	counted := fmt.Sprintf(`berth_tls_handshake_failures_total{listener="data"} %d`, len(found)+2*maxHandshakeLines)
	await.True(t, limit, "the metric counts them all", func() bool { return strings.Contains(scrape(reg), counted) })
	log.wait(t, told, maxHandshakeLines)
	h := server.ErrorLog.Writer().(*handshakes)
	h.end() // the minute is over
	left := log.wait(t, "more TLS handshakes failed than the log tells of", 1)[0]["left_out"].(float64)
	if n := len(log.with(t, told)); n != maxHandshakeLines || int(left) != len(found)+maxHandshakeLines {
		t.Errorf("%d lines, %v left out", n, left)
	}
	fail(&tls.Config{ServerName: "dev.acme.test"}) // another minute, another line
	log.wait(t, told, maxHandshakeLines+1)
}
