package pgmeta

import (
	"encoding/binary"
	"net"
	"strings"
)

// statement is the part of a batch up to one Execute, as it goes to the server.
type statement struct {
	bytes []byte
	text  string
	parts int  // Executes in it
	last  bool // the end of its batch is with it
}

// steppedConn passes a driver's batches to the server one statement at a time, as its
// turnstile lets them. Statements that are only prepared pass at once.
type steppedConn struct {
	net.Conn
	stile   *turnstile
	started bool // the first message, which has no type, was sent
	pid     uint32

	unsent []byte      // what is not yet a whole message
	group  []byte      // messages since the last Execute
	text   string      // of the statement that was bound last
	batch  []statement // whose end was not yet seen
	texts  map[string]string

	answer []byte // of the server, what is not yet a whole message
}

// Write takes what the driver sends.
func (c *steppedConn) Write(p []byte) (int, error) {
	c.unsent = append(c.unsent, p...)
	for {
		head := 1
		if !c.started {
			head = 0
		}
		m, rest := message(c.unsent, head)
		if m == nil {
			return len(p), nil
		}
		c.unsent = rest
		if err := c.take(m); err != nil {
			return 0, err
		}
	}
}

// message is the first whole message, which has its length after head bytes; nil
// where more has to come.
func message(b []byte, head int) ([]byte, []byte) {
	if len(b) < head+4 {
		return nil, b
	}
	n := head + int(binary.BigEndian.Uint32(b[head:]))
	if len(b) < n {
		return nil, b
	}
	return b[:n:n], b[n:]
}

func (c *steppedConn) take(m []byte) error {
	c.group = append(c.group, m...)
	switch {
	case !c.started, m[0] == 'p', m[0] == 'X': // start, password, end
		c.started = true
		return c.pass()
	case m[0] == 'P':
		name, rest, _ := strings.Cut(string(m[5:]), "\x00")
		c.texts[name], _, _ = strings.Cut(rest, "\x00")
	case m[0] == 'B':
		_, rest, _ := strings.Cut(string(m[5:]), "\x00")
		name, _, _ := strings.Cut(rest, "\x00")
		c.text = c.texts[name]
	case m[0] == 'E':
		c.batch = append(c.batch, statement{bytes: c.group, text: c.text, parts: 1})
		c.group = nil
	case m[0] == 'Q':
		c.batch = append(c.batch, statement{bytes: c.group, text: string(m[5 : len(m)-1]), parts: 1})
		c.group = nil
		return c.end()
	case m[0] == 'S' && len(c.batch) == 0:
		return c.pass()
	case m[0] == 'S':
		last := &c.batch[len(c.batch)-1]
		last.bytes = append(last.bytes, c.group...)
		c.group = nil
		return c.end()
	}
	return nil
}

// pass sends what no turnstile holds.
func (c *steppedConn) pass() error {
	_, err := c.Conn.Write(c.group)
	c.group = nil
	return err
}

// end hands a whole batch to the turnstile. BEGIN locks nothing and reads nothing: it goes
// with the statement after it. What a new connection is asked is no step of the operation.
func (c *steppedConn) end() error {
	if c.batch[0].text == `SHOW transaction_read_only` {
		whole := c.batch[0]
		c.batch, whole.last = nil, true
		return c.send(whole)
	}
	var joined []statement
	for i, s := range c.batch {
		if i > 0 && c.batch[i-1].text == beginTx {
			begin := &joined[len(joined)-1]
			s.bytes, s.parts = append(begin.bytes, s.bytes...), begin.parts+1
			*begin = s
			continue
		}
		joined = append(joined, s)
	}
	c.batch = nil
	joined[len(joined)-1].last = true
	return c.stile.hold(c, joined)
}

// flush makes the server answer in the middle of a batch.
var flush = []byte{'H', 0, 0, 0, 4}

// send gives a statement to the server.
func (c *steppedConn) send(s statement) error {
	b := s.bytes
	if !s.last {
		b = append(b, flush...)
	}
	_, err := c.Conn.Write(b)
	return err
}

// Read tells the turnstile which statements are over.
func (c *steppedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.answer = append(c.answer, p[:n]...)
	for {
		m, rest := message(c.answer, 1)
		if m == nil {
			return n, err
		}
		c.answer = rest
		switch m[0] {
		case 'K':
			c.pid = binary.BigEndian.Uint32(m[5:])
		case 'C', 'I', 'E', 'Z':
			if failed := c.stile.answered(c, m); failed != nil {
				return n, failed
			}
		}
	}
}
