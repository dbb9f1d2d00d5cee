package boot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/berth-registry/berth/pkg/boot/conns"
)

// Server serves one listener, such as the *http.Server of web.NewServer.
type Server interface {
	// Serve blocks until the server is shut down or fails.
	Serve(net.Listener) error
	// Shutdown stops accepting and waits for running requests until ctx ends.
	Shutdown(ctx context.Context) error
	// Close closes every connection.
	Close() error
}

// Listener is an address with its server.
type Listener struct {
	Setting string      // the setting the address is from, for messages
	Addr    string      // host:port
	TLS     *tls.Config // nil: plain
	Server  Server
}

// bind opens the listener's socket, with its connections in the pool. The error names
// the setting and says what to do.
func (l Listener) bind(ctx context.Context, pool *conns.Pool) (net.Listener, error) {
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
	}
	socket = pool.Listen(socket, strings.TrimSuffix(l.Setting, "_addr"))
	if l.TLS != nil {
		socket = tls.NewListener(socket, l.TLS)
	}
	return socket, nil
}
