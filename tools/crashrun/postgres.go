package main

import (
	"net"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"
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
		c.answers(pgproto3.NewFrontend(server, nil), pgproto3.NewBackend(nil, node))
		// Whichever side ends first ends the other.
		_ = node.Close()
		_ = server.Close()
	}()
	c.requests(pgproto3.NewBackend(node, nil), pgproto3.NewFrontend(nil, server))
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
func (c *postgresConn) requests(node *pgproto3.Backend, server *pgproto3.Frontend) {
	m, err := node.ReceiveStartupMessage()
	for ; err == nil; m, err = node.Receive() {
		if c.request(m, server) {
			return
		}
		server.Send(m)
		switch m.(type) {
		case *pgproto3.Parse, *pgproto3.Bind, *pgproto3.Describe, *pgproto3.Execute, *pgproto3.Close:
			continue // a Sync follows
		}
		if server.Flush() != nil {
			return
		}
	}
}

// request looks at a message and says whether the node was killed before it.
func (c *postgresConn) request(m pgproto3.FrontendMessage, server *pgproto3.Frontend) bool {
	switch m := m.(type) {
	case *pgproto3.Parse:
		c.statements[m.Name] = m.Query
	case *pgproto3.Bind:
		c.portals[m.DestinationPortal] = c.statements[m.PreparedStatement]
	case *pgproto3.Execute:
		return c.before(c.portals[m.Portal], server)
	case *pgproto3.Query: // which is its own Sync
		if c.before(m.String, server) {
			return true
		}
		c.sync()
	case *pgproto3.Sync:
		c.sync()
	}
	return false
}

func (c *postgresConn) before(query string, server *pgproto3.Frontend) bool {
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
func (c *postgresConn) answers(server *pgproto3.Frontend, node *pgproto3.Backend) {
	greeted := false // the node speaks only after the first ReadyForQuery
	for {
		m, err := server.Receive()
		if err != nil {
			return
		}
		node.Send(m)
		_, ready := m.(*pgproto3.ReadyForQuery)
		if !ready && greeted && c.awaiting() {
			continue
		}
		if ready && greeted {
			if done := c.answered(); done != "" && !reads(done) && !aside(done) && c.cut("after "+done) {
				return
			}
		}
		greeted = greeted || ready
		if node.Flush() != nil {
			return
		}
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
