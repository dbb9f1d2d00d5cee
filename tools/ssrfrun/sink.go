package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

// sinkPorts are those that forms name, or imply.
var sinkPorts = []int{80, 443, 2375, 5000, 6379, 8080}

// sink accepts connections to every address, on its ports, and counts them by
// the address that was connected to.
type sink struct {
	mu       sync.Mutex
	accepted map[netip.Addr]int
}

func openSink(ctx context.Context) (*sink, error) {
	s := &sink{accepted: map[netip.Addr]int{}}
	for _, port := range sinkPorts {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
		if err != nil {
			return nil, fmt.Errorf("open the sink: %w", err)
		}
		context.AfterFunc(ctx, func() { _ = l.Close() })
		go s.accept(l)
	}
	return s, nil
}

func (s *sink) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		at := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr()
		s.mu.Lock()
		s.accepted[at.Unmap()]++
		s.mu.Unlock()
		_ = conn.Close()
	}
}

// take is who was connected to since it was asked last.
func (s *sink) take() map[netip.Addr]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.accepted
	s.accepted = map[netip.Addr]int{}
	return taken
}

// settle connects to each port itself, so that all connections from before were
// counted when it returns.
func (s *sink) settle(ctx context.Context) error {
	for _, port := range sinkPorts {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(barrier.String(), strconv.Itoa(port)))
		if err != nil {
			return err
		}
		_, _ = conn.Read(make([]byte, 1)) // until it is closed, which is after it was counted
		_ = conn.Close()
	}
	return nil
}

// barrier is the address that settle connects to.
var barrier = netip.MustParseAddr("127.0.0.9")
