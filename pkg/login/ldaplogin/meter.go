package ldaplogin

import (
	"errors"
	"net"
	"sync"
	"time"
)

// What a server may send for one task. An element of BER takes two bytes on the wire and a
// hundred times as much in memory, so both are bounded.
const (
	maxBytes    = 4 << 20
	maxElements = 100_000
)

var errTooMuch = errors.New("the directory sent more than it may")

// meter is a connection that reads no more than a task may get.
type meter struct {
	net.Conn

	mu       sync.Mutex
	bytes    int
	elements int
	scan     scanner
}

// begin allows what one task may read.
func (m *meter) begin(until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes, m.elements = 0, 0
	return m.SetDeadline(until)
}

// expire ends what waits for the connection.
func (m *meter) expire() { _ = m.SetDeadline(time.Unix(1, 0)) } // an error means that it is closed

// Read implements net.Conn.
func (m *meter) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += n
	m.elements += m.scan.count(b[:n])
	if m.bytes > maxBytes || m.elements > maxElements || m.scan.refused {
		return 0, errTooMuch
	}
	return n, err
}

// scanner counts elements of BER (X.690) in a stream, which is cut anywhere.
type scanner struct {
	state       state
	constructed bool
	more        int     // bytes of the length that are still to come
	length      int64   // of the content
	skip        int64   // bytes of content that are still to come
	at          int64   // how much was read
	ends        []int64 // of the elements around this place
	refused     bool    // an element is too deep inside, or says no length
}

type state uint8

const (
	atTag state = iota
	inTag
	atLength
	inLength
)

// maxDepth is more than an answer has, which is 6. What is deep inside is copied by the
// library for each level.
const maxDepth = 10

// count returns how many heads of elements end in b.
func (s *scanner) count(b []byte) int {
	elements := 0
	for len(b) > 0 {
		n := max(1, min(s.skip, int64(len(b))))
		s.at += n
		if s.skip > 0 {
			s.skip -= n
		} else if s.isLast(b[0]) {
			elements++
		}
		b = b[n:]
		for len(s.ends) > 0 && s.at >= s.ends[len(s.ends)-1] && s.state == atTag {
			s.ends = s.ends[:len(s.ends)-1]
		}
	}
	return elements
}

// isLast reads a byte of a head, and reports whether it was the last one.
func (s *scanner) isLast(x byte) bool {
	switch s.state {
	case atTag:
		s.constructed = x&0x20 != 0
		s.state = atLength
		if x&0x1f == 0x1f {
			s.state = inTag
		}
	case inTag:
		if x&0x80 == 0 {
			s.state = atLength
		}
	case atLength:
		s.length, s.more = int64(x), 0
		if x >= 0x80 {
			s.length, s.more = 0, int(x&0x7f)
			s.refused = s.refused || s.more == 0 // RFC 4511, section 5.1: lengths are definite
		}
		s.state = inLength
		return s.ended()
	case inLength:
		s.length, s.more = min(s.length<<8|int64(x), 1<<40), s.more-1 // longer than any that is read
		return s.ended()
	}
	return false
}

func (s *scanner) ended() bool {
	if s.more > 0 {
		return false
	}
	s.state = atTag
	if !s.constructed {
		s.skip = s.length
		return true
	}
	s.refused = s.refused || len(s.ends) == maxDepth
	if !s.refused {
		s.ends = append(s.ends, s.at+s.length)
	}
	return true
}
