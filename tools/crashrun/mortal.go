package main

import (
	"errors"
	"io"
	"net/http"
)

// mortal is a client's way to a node that may die while it reads a body, and
// before its answer arrives.
type mortal struct {
	http.RoundTripper
	cut cut
}

func (m mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.ContentLength > piece {
		r = r.Clone(r.Context())
		r.Body = &pieces{ReadCloser: r.Body, left: piece, cut: m.cut}
	}
	res, err := m.RoundTripper.RoundTrip(r)
	if err == nil && m.cut("before the answer") {
		return nil, errors.Join(errKilled, res.Body.Close())
	}
	return res, err
}

// piece is how much of a body is sent between two steps.
const piece = 1 << 20

// pieces is a body that is sent piece by piece.
type pieces struct {
	io.ReadCloser
	left int
	cut  cut
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.left == 0 {
		p.left = piece
		if p.cut("within a body") {
			return 0, errKilled
		}
	}
	n, err := p.ReadCloser.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}
