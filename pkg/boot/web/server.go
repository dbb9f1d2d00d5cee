package web

import (
	"log/slog"
	"net/http"
	"time"
)

// The limits of every HTTP listener (contract rows A6 and A7). Bodies have no
// limit of time here, because uploads may take hours: Pace sets one by
// progress.
const (
	readHeaderTimeout    = 10 * time.Second
	idleTimeout          = 2 * time.Minute
	maxHeaderBytes       = 96 << 10 // a token request of 64 KiB, a token, a signed call
	maxConcurrentStreams = 250
)

// NewServer makes a server with the limits that every listener has. It speaks
// HTTP/1.1, and HTTP/2 where TLS negotiates it.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           tracked{h},
		ConnState:         trackState,
		ConnContext:       KeepConn,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxConcurrentStreams},
		// net/http would answer "OPTIONS *" with 200, for any host and past the middleware.
		DisableGeneralOptionsHandler: true,
		// What net/http says here is about broken clients.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
