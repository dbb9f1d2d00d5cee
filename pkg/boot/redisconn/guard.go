package redisconn

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Limits of a reply. Those that Berth asks for are a tenth of this at most;
// go-redis believes whatever length a reply claims, and allocates it.
const (
	maxReplyText  = 64 << 10
	maxReplyParts = 1024
	maxReplyLine  = 4096
)

// guarded ends a connection whose replies are out of bounds before go-redis
// reads the offending line.
type guarded struct {
	net.Conn
	reply replyGuard
}

// guard wraps a connection to Redis.
func guard(c net.Conn) net.Conn {
	if _, ok := c.(syscall.Conn); ok {
		return &guardedSocket{guarded{Conn: c}}
	}
	return &guarded{Conn: c}
}

// Read implements net.Conn.
func (g *guarded) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if wrong := g.reply.scan(p[:n]); wrong != nil {
		return 0, wrong
	}
	return n, err
}

// guardedSocket lets go-redis see that the server closed an idle connection.
type guardedSocket struct{ guarded }

// SyscallConn implements syscall.Conn.
func (g *guardedSocket) SyscallConn() (syscall.RawConn, error) {
	return g.Conn.(syscall.Conn).SyscallConn()
}

// replyGuard follows a stream of RESP frames, wherever it is cut into reads.
// It knows their lengths only; what they mean is go-redis's.
type replyGuard struct {
	kind     byte // of the line under way; 0 at its beginning
	line     int  // its length so far
	number   int  // its digits so far
	negative bool // a text or list that is absent

	skip  int // bytes of text, with its line end, still to come
	parts int // of the reply so far
	due   int // parts of the reply still to come
}

var errReply = errors.New("redis sent a reply that is out of bounds")

func (g *replyGuard) scan(p []byte) error {
	for len(p) > 0 {
		if g.skip > 0 {
			n := min(g.skip, len(p))
			g.skip -= n
			p = p[n:]
			continue
		}
		if err := g.add(p[0]); err != nil {
			return err
		}
		p = p[1:]
	}
	return nil
}

// add takes a byte of a line.
func (g *replyGuard) add(b byte) error {
	if g.kind == 0 {
		g.kind, g.line, g.number, g.negative = b, 0, 0, false
	}
	g.line++
	switch {
	case b == '\n':
		return g.endLine()
	case g.line > maxReplyLine:
		return fmt.Errorf("%w: a line of more than %d bytes", errReply, maxReplyLine)
	case b == '-':
		g.negative = true
	case b >= '0' && b <= '9' && g.number <= maxReplyText:
		g.number = g.number*10 + int(b-'0')
	}
	return nil
}

// endLine counts parts, so that lists in lists are bounded too: go-redis reads
// them by recursion.
func (g *replyGuard) endLine() error {
	if g.due == 0 {
		g.due, g.parts = 1, 0
	}
	g.due--
	g.parts++
	kind := g.kind
	if g.kind = 0; g.negative {
		kind = 0
	}
	switch kind {
	case '$', '=', '!':
		if g.number > maxReplyText {
			return fmt.Errorf("%w: a text of more than %d bytes", errReply, maxReplyText)
		}
		g.skip = g.number + len("\r\n")
	case '*', '~', '>':
		g.due += g.number
	case '%':
		g.due += 2 * g.number
	case '|':
		g.due += 2*g.number + 1 // what the attributes are of
	}
	if g.parts+g.due > maxReplyParts {
		return fmt.Errorf("%w: more than %d parts", errReply, maxReplyParts)
	}
	return nil
}
