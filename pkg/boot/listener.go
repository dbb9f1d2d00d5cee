package boot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// Server answers on one listener. *http.Server is one; GRPC makes one of a
// gRPC server.
type Server interface {
	// Serve blocks until the server is shut down or fails.
	Serve(net.Listener) error
	// Shutdown stops accepting and waits for running requests, for as long as
	// ctx lasts.
	Shutdown(ctx context.Context) error
	// Close cuts every connection.
	Close() error
}

// Listener is an address and what answers there.
type Listener struct {
	Setting string      // the setting the address is from, for messages
	Addr    string      // host:port
	TLS     *tls.Config // nil: plain
	Server  Server
}

// bind opens the listener's socket. The error names the setting and says what
// to do.
func (l Listener) bind(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	socket, err := lc.Listen(ctx, "tcp", l.Addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s %s: address already in use; another Berth may be running, or choose another address", l.Setting, l.Addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s %s: permission denied; ports below 1024 need a privilege, choose a higher one", l.Setting, l.Addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s %s: this machine does not have that address", l.Setting, l.Addr)
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", l.Setting, l.Addr, err)
	case l.TLS != nil:
		return tls.NewListener(socket, l.TLS), nil
	}
	return socket, nil
}

// The limits of every HTTP listener (contract rows A6 and A7). Bodies have no
// limit of time here, because uploads may take hours: web.Pace sets one by
// progress.
const (
	readHeaderTimeout    = 10 * time.Second
	idleTimeout          = 2 * time.Minute
	maxHeaderBytes       = 32 << 10
	maxConcurrentStreams = 250
)

// NewHTTPServer makes a server with the limits that every listener has. It
// speaks HTTP/1.1, and HTTP/2 where TLS negotiates it.
func NewHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxConcurrentStreams},
		// What net/http says here is about broken clients.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// GRPC makes a Server of a gRPC server.
func GRPC(s *grpc.Server) Server { return grpcServer{s} }

type grpcServer struct{ *grpc.Server }

func (s grpcServer) Shutdown(ctx context.Context) error {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.GracefulStop()
	}()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s grpcServer) Close() error {
	s.Stop()
	return nil
}
