package assemble_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// runID tells the repositories of one run from those of an earlier one.
var runID = fmt.Sprintf("%x", time.Now().UnixNano())

// repository is one repository as a client sees it: every method sends what
// it says, once, and no method hides an answer.
type repository struct {
	deployment
	name string
}

// request is what is sent. Target is a path or, for a Location, anything that
// resolves against the registry.
type request struct {
	method, target string
	header         http.Header
	body           []byte
	stream         io.Reader // instead of body, with no Content-Length
}

// answer is a response whose body has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
	what   string
}

func (r repository) send(t *testing.T, q request) answer {
	t.Helper()
	base, err := url.Parse(r.base)
	if err != nil {
		t.Fatal(err)
	}
	target, err := base.Parse(q.target)
	if err != nil {
		t.Fatalf("%q does not resolve: %v", q.target, err)
	}
	body := q.stream
	if body == nil {
		body = bytes.NewReader(q.body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, q.method, target.String(), body)
	if err != nil {
		t.Fatal(err)
	}
	for key, values := range q.header {
		req.Header[key] = values
	}
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", q.method, target.Path, err)
	}
	return answer{res.StatusCode, res.Header, got, q.method + " " + target.RequestURI()}
}

// at is a path below the repository.
func (r repository) at(format string, args ...any) string {
	return "/v2/" + r.name + "/" + fmt.Sprintf(format, args...)
}

// want fails the test unless the answer has one of the statuses.
func (a answer) want(t *testing.T, statuses ...int) answer {
	t.Helper()
	for _, s := range statuses {
		if a.status == s {
			return a
		}
	}
	t.Fatalf("%s: got status %d, want %v; body %s", a.what, a.status, statuses, clip(a.body))
	return a
}

// wantHeader fails the test unless the header is there once, with that value.
func (a answer) wantHeader(t *testing.T, key, value string) answer {
	t.Helper()
	if got := a.header.Values(key); len(got) != 1 || got[0] != value {
		t.Errorf("%s: got %s %q, want %q", a.what, key, got, value)
	}
	return a
}

func clip(b []byte) string {
	const most = 400
	return strings.TrimSpace(string(b[:min(len(b), most)]))
}
