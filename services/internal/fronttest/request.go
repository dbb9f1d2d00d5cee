package fronttest

import (
	"io"
	"net/http"
	"slices"
	"strings"
)

// Request is one request to the deployment.
type Request struct {
	Method string // GET if empty
	Host   string
	Path   string // with its query
	Body   string
	Stream io.Reader // in place of Body: its length is not announced
	Header http.Header
	Bearer string // a token
	Basic  string // the slug of an account that Account made
}

// Headers takes names and values in turn.
func Headers(pairs ...string) http.Header {
	h := http.Header{}
	for pair := range slices.Chunk(pairs, 2) {
		h.Add(pair[0], pair[1])
	}
	return h
}

// Answer is a whole answer.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Code is the code of the error body; empty when there is none.
func (a Answer) Code() string {
	_, rest, _ := strings.Cut(a.Body, `"code":"`)
	code, _, _ := strings.Cut(rest, `"`)
	return code
}

// Do is Send for requests that must be answered.
func (d *Deployment) Do(req Request) Answer {
	d.t.Helper()
	a, err := d.Send(req)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

// Send sends the request and reads the answer. Redirects are not followed.
func (d *Deployment) Send(req Request) (Answer, error) {
	body := req.Stream
	if body == nil && req.Body != "" {
		body = strings.NewReader(req.Body)
	}
	r, err := http.NewRequestWithContext(d.t.Context(), req.Method, d.Server.URL+req.Path, body)
	if err != nil {
		return Answer{}, err
	}
	if req.Stream != nil {
		r.ContentLength = -1
	}
	r.Host = req.Host
	for name, values := range req.Header {
		r.Header[name] = values
	}
	if req.Bearer != "" {
		r.Header.Set("Authorization", "Bearer "+req.Bearer)
	}
	if req.Basic != "" {
		r.SetBasicAuth(req.Basic, Secret(req.Basic))
	}
	resp, err := d.Server.Client().Transport.RoundTrip(r)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(b)}, err
}
