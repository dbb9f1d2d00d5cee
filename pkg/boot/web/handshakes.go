package web

import (
	"context"
	"crypto/tls"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The maximum of logged failed TLS handshakes, and its period. A scanner causes
// thousands of them.
const (
	maxHandshakeLines = 10
	handshakePeriod   = time.Minute
)

// maxServerName is the longest DNS name, and the most that is kept of what a
// client calls one.
const maxServerName = 255

// LogHandshakes makes the server log failed TLS handshakes of the listener: a few a
// minute, with the number of omitted ones. It returns the configuration to listen
// with. Call it before the server serves.
func LogHandshakes(s *http.Server, c *tls.Config, m Middleware) *tls.Config {
	h := &handshakes{Middleware: m, period: handshakePeriod, rest: s.ErrorLog}
	s.ErrorLog = log.New(h, "", 0)
	next := s.ConnState
	s.ConnState = func(conn net.Conn, state http.ConnState) {
		if next != nil {
			next(conn, state)
		}
		if state == http.StateClosed || state == http.StateHijacked {
			h.hellos.Delete(conn.RemoteAddr().String())
		}
	}
	c = c.Clone()
	choose := c.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name := hello.ServerName
		h.hellos.Store(hello.Conn.RemoteAddr().String(), strings.Clone(name[:min(len(name), maxServerName)]))
		if choose != nil {
			return choose(hello)
		}
		return nil, nil // as it is
	}
	return c
}

// handshakes is the error log of a server: net/http reports failed handshakes only
// there.
type handshakes struct {
	Middleware
	rest   *log.Logger // for all other lines
	hellos sync.Map    // server name that the client asked for, by its address, while it is connected
	period time.Duration

	mu   sync.Mutex
	told int // in this period; 0 before the first of a new one
	left int // that were not logged
}

// handshakePrefix begins net/http's words for one.
const handshakePrefix = "http: TLS handshake error from "

// Write takes one line of the log.
func (h *handshakes) Write(line []byte) (int, error) {
	text := strings.TrimSuffix(string(line), "\n")
	rest, ok := strings.CutPrefix(text, handshakePrefix)
	if !ok {
		h.rest.Print(text)
		return len(line), nil
	}
	client, reason, _ := strings.Cut(rest, ": ")
	name, greeted := h.hellos.Load(client)
	if !greeted && !strings.HasPrefix(reason, "client sent") && !strings.HasPrefix(reason, "tls:") {
		// The client sent nothing: a probe of the port, or a browser that did not need
		// the connection.
		h.rest.Print(text)
		return len(line), nil
	}
	h.Metrics.tls.WithLabelValues(h.Listener).Inc()
	if h.may() {
		asked, _ := name.(string)
		h.Log.LogAttrs(context.Background(), slog.LevelWarn, "a TLS handshake failed",
			slog.String("listener", h.Listener), slog.String("client", client), slog.String("server_name", asked), slog.String("reason", reason))
	}
	return len(line), nil
}

// may reports whether another line may be written. The first line begins a period;
// its end logs how many were omitted.
func (h *handshakes) may() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told == maxHandshakeLines {
		h.left++
		return false
	}
	if h.told == 0 {
		time.AfterFunc(h.period, h.end)
	}
	h.told++
	return true
}

func (h *handshakes) end() {
	h.mu.Lock()
	left := h.left
	h.told, h.left = 0, 0
	h.mu.Unlock()
	if left > 0 {
		h.Log.Warn("more TLS handshakes failed than the log tells of", "listener", h.Listener, "left_out", left, "period", h.period.String())
	}
}
