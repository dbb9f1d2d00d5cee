// Package port finds ports for servers that keep theirs over many lives.
package port

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports in this range are the kernel's to nobody: outgoing connections and
// listeners on port 0 get theirs above it, unless a machine is set otherwise. A
// port from there may be taken while the server that has it is down.
const (
	least = 12_000
	limit = 32_000
)

// Free returns n loopback addresses, host:port, on which nobody listens, each
// another.
func Free(n int) ([]string, error) {
	var addrs []string
	for len(addrs) < n {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(least+rand.IntN(limit-least)))
		l, err := net.Listen("tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer l.Close() // held until all are chosen: they differ
		addrs = append(addrs, addr)
	}
	return addrs, nil
}
