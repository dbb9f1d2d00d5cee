package conns

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// How long to wait before accepting again when no descriptor is left: after one was
// given back, and when none could be.
const (
	shortWait = 5 * time.Millisecond
	longWait  = 100 * time.Millisecond
)

// Listen takes connections of l, which is a TCP listener, into the pool. The name is
// the listener's in metrics.
func (p *Pool) Listen(l net.Listener, name string) net.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.add(name)
	return listener{l, p, name}
}

type listener struct {
	net.Listener
	pool *Pool
	name string
}

// Accept returns the next connection that is admitted. That no descriptor is left is
// not an error: servers would sleep for up to a second, and write a line each time.
func (l listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			l.pool.short(l.name)
			continue
		}
		if err != nil {
			return nil, err
		}
		tcp, ok := raw.(*net.TCPConn)
		if !ok {
			return raw, nil
		}
		if c := l.pool.admit(tcp, l.name); c != nil {
			return c, nil
		}
	}
}

// short gives a descriptor back, and waits until there may be one.
func (p *Pool) short(listener string) {
	p.mu.Lock()
	p.counts.refused(listener, refusedDescriptors)
	p.mu.Unlock()
	wait := longWait
	if p.set.relieve() {
		wait = shortWait
	}
	<-time.After(wait) // nothing tells when there is a descriptor
}
