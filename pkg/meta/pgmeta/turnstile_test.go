package pgmeta

import (
	"bytes"
	"strings"
	"sync"
)

// turnstile holds the statements of one actor until they are let through. Its bell rings
// whenever something has changed.
type turnstile struct {
	bell chan<- struct{}

	mu      sync.Mutex
	closed  bool         // statements are held
	held    []statement  // those that come next
	conn    *steppedConn // on which they come
	running *statement
	open    int  // parts of it without an answer
	idle    bool // no transaction was open after it
	over    bool // the operation has returned

	texts []string // of what was let through
	codes []string // of errors that the server answered
}

func (g *turnstile) ring() {
	select {
	case g.bell <- struct{}{}:
	default:
	}
}

// close begins to hold statements, of a new operation.
func (g *turnstile) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.over, g.running, g.held, g.texts, g.codes = true, false, nil, nil, nil, nil
}

// end says that the operation has returned, and lets everything through from now on.
func (g *turnstile) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.over = false, true
	g.ring()
}

// hold takes a batch.
func (g *turnstile) hold(c *steppedConn, batch []statement) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		for _, s := range batch {
			s.last = true // no answer is waited for
			if err := c.send(s); err != nil {
				return err
			}
		}
		return nil
	}
	g.held, g.conn = append(g.held, batch...), c
	g.ring()
	return nil
}

// step lets the next statement through.
func (g *turnstile) step() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.next()
}

func (g *turnstile) next() error {
	s := g.held[0]
	g.held, g.running = g.held[1:], &s
	g.texts = append(g.texts, s.text)
	g.open, g.idle = s.parts, s.text == commitTx
	return g.conn.send(s)
}

// answered is told of the end of a statement, of an error, and of the end of a batch.
func (g *turnstile) answered(c *steppedConn, m []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil || c != g.conn {
		return nil
	}
	switch m[0] {
	case 'E':
		g.codes = append(g.codes, errorCode(m))
		for !g.running.last { // the server only waits for the end of the batch
			if err := g.next(); err != nil {
				return err
			}
		}
	case 'Z':
		g.running, g.idle = nil, m[5] == 'I'
	case 'C', 'I':
		if g.open--; g.open == 0 && !g.running.last {
			g.running = nil
		}
	}
	g.ring()
	return nil
}

// errorCode is the SQLSTATE of an error.
func errorCode(m []byte) string {
	for _, field := range bytes.Split(m[5:], []byte{0}) {
		if len(field) > 0 && field[0] == 'C' {
			return string(field[1:])
		}
	}
	return ""
}

// rest says whether the actor waits here or has ended, and whether it has.
func (g *turnstile) rest() (bool, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running == nil && (g.over || len(g.held) > 0), g.over
}

// ended says whether the statement that was let through last ended its transaction.
func (g *turnstile) ended() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.idle
}

// backend is the server's process that runs a statement; 0 without one.
func (g *turnstile) backend() uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil {
		return 0
	}
	return g.conn.pid
}

// last is the text of the statement that was let through last.
func (g *turnstile) last() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(strings.Fields(g.texts[len(g.texts)-1]), " ")
}
