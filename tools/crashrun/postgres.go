package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// cut says whether to kill at a step; when it returns true, the process is dead.
type cut func(step string) bool

// postgresProxy stands between a node and Postgres. It knows where messages
// begin, and has two kinds of steps: a statement is about to be sent to the
// server, which has all that came before; and the server has answered what was
// sent up to a Sync, of which the node has heard nothing yet.
type postgresProxy struct {
	server   string
	cut      cut
	listener net.Listener
}

// The moment after a statement that only reads is the one before the next.
func reads(summary string) bool { return strings.HasPrefix(summary, "SELECT") || summary == "WITH" }

// aside are statements that belong to no operation: a connection is examined,
// and the caller's key is looked up.
func aside(summary string) bool {
	return summary == "SHOW" || summary == "SELECT" || strings.HasPrefix(summary, "--") || strings.HasSuffix(summary, " account_keys")
}

// newPostgresProxy stands before the server of a URL, and returns the URL of the
// same database through the proxy.
func newPostgresProxy(direct string, c cut) (*postgresProxy, string, error) {
	u, err := url.Parse(direct)
	if err != nil {
		return nil, "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	p := &postgresProxy{server: u.Host, cut: c, listener: l}
	go p.accept()
	u.Host = l.Addr().String()
	return p, u.String(), nil
}

func (p *postgresProxy) close() error { return p.listener.Close() }

func (p *postgresProxy) accept() {
	for {
		node, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		go p.pass(node)
	}
}

// pass passes one connection on.
func (p *postgresProxy) pass(node net.Conn) {
	defer node.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	c := newPostgresConn(p.cut)
	go func() {
		c.answers(bufio.NewReader(server), bufio.NewWriter(node))
		// Whichever side ends first ends the other.
		_ = node.Close()
		_ = server.Close()
	}()
	c.requests(bufio.NewReader(node), bufio.NewWriter(server))
}

// postgresConn is what is known of one connection.
type postgresConn struct {
	cut        cut
	statements map[string]string // by name
	portals    map[string]string // by name: the statement
	last       string            // the last statement since a Sync

	mu      sync.Mutex
	pending []string // the last statement of each Sync that has no answer
}

func newPostgresConn(c cut) *postgresConn {
	return &postgresConn{cut: c, statements: map[string]string{}, portals: map[string]string{}}
}

// requests passes on what the node says, until it or the server ends, or it is
// killed.
func (c *postgresConn) requests(node *bufio.Reader, server *bufio.Writer) {
	// The first message has no type.
	if m, err := message(node, 0); err != nil || send(server, m) != nil || server.Flush() != nil {
		return
	}
	for {
		m, err := message(node, 1)
		if err != nil || c.request(m, server) || send(server, m) != nil {
			return
		}
		if node.Buffered() == 0 && server.Flush() != nil {
			return
		}
	}
}

// request looks at a message and says whether the node was killed before it.
func (c *postgresConn) request(m []byte, server *bufio.Writer) bool {
	name, rest, _ := strings.Cut(string(m[5:]), "\x00")
	second, _, _ := strings.Cut(rest, "\x00")
	switch m[0] {
	case 'P': // Parse: statement, query
		c.statements[name] = second
	case 'B': // Bind: portal, statement
		c.portals[name] = c.statements[second]
	case 'E': // Execute: portal
		return c.before(c.portals[name], server)
	case 'Q': // Query, which is its own Sync
		if c.before(name, server) {
			return true
		}
		c.sync()
	case 'S':
		c.sync()
	}
	return false
}

func (c *postgresConn) before(query string, server *bufio.Writer) bool {
	c.last = summary(query)
	// The server has what came before, whether or not this is the end.
	return server.Flush() != nil || !aside(c.last) && c.cut("before "+c.last)
}

func (c *postgresConn) sync() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, c.last)
	c.last = ""
}

// answers passes on what the server says, all up to an answered Sync at once.
func (c *postgresConn) answers(server *bufio.Reader, node *bufio.Writer) {
	const readyForQuery = 'Z'
	var held []byte
	greeted := false // the node speaks only after the first ReadyForQuery
	for {
		m, err := message(server, 1)
		if err != nil {
			return
		}
		held = append(held, m...)
		ready := m[0] == readyForQuery
		if !ready && greeted && c.awaiting() {
			continue
		}
		if ready && greeted {
			if done := c.answered(); done != "" && !reads(done) && !aside(done) && c.cut("after "+done) {
				return
			}
		}
		greeted = greeted || ready
		if send(node, held) != nil || node.Flush() != nil {
			return
		}
		held = held[:0]
	}
}

func (c *postgresConn) awaiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) > 0
}

// answered takes the statement that a ReadyForQuery answers.
func (c *postgresConn) answered() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return ""
	}
	done := c.pending[0]
	c.pending = c.pending[1:]
	return done
}

// biggest bounds a message: a manifest and its frame fit.
const biggest = 64 << 20

// message reads one message whole: a type, if it has one, and a length that
// counts itself.
func message(r *bufio.Reader, typed int) ([]byte, error) {
	head, err := r.Peek(typed + 4)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[typed:])
	if size < 4 || size > biggest {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	m := make([]byte, typed+int(size))
	_, err = io.ReadFull(r, m)
	return m, err
}

func send(w *bufio.Writer, m []byte) error {
	_, err := w.Write(m)
	return err
}

// statement finds what a query does to which table. Keywords are written in
// capitals, and names are not; FOR UPDATE is a lock.
var statement = regexp.MustCompile(`\b(INSERT INTO|UPDATE|DELETE FROM|FROM) +([a-z_]+)`)

// summary is the name of a query: its verb and its first table, SELECT of blobs.
func summary(query string) string {
	words := strings.Fields(query)
	if len(words) == 0 {
		return "an empty query"
	}
	verb := strings.ToUpper(words[0])
	for _, found := range statement.FindAllStringSubmatch(query, -1) {
		what := strings.ToUpper(strings.Fields(found[1])[0])
		switch {
		case verb == "WITH" && what != "FROM":
			return what + " " + found[2] + " in a query"
		case what == verb:
			return verb + " " + found[2]
		case verb == "SELECT":
			return verb + " " + found[2]
		}
	}
	return verb
}
