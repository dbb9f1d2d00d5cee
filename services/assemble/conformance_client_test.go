package assemble_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// runID tells the repositories of one run from those of an earlier one.
var runID = fmt.Sprintf("%x", time.Now().UnixNano())

// repository is one repository as a client sees it. Every method sends one
// request; none repeats it or follows up on its answer.
type repository struct {
	deployment
	name string
}

// sibling is another repository of the same registry.
func (r repository) sibling(suffix string) repository {
	r.name += "/" + suffix
	return r
}

// inSparse is the repository in the registry that allows missing references.
func (r repository) inSparse() repository {
	r.base = r.sparse
	return r
}

// inChained is the repository in the registry that asks that of r.
func (r repository) inChained() repository {
	r.base = r.chained
	return r
}

// asNobody is the repository as a client sees it that has no credential.
func (r repository) asNobody() repository {
	r.client = r.nobody
	return r
}

// at is a path below the repository.
func (r repository) at(format string, args ...any) string {
	return "/v2/" + r.name + "/" + fmt.Sprintf(format, args...)
}

// request is what is sent. target is a path or anything else that resolves
// against the registry, such as a Location.
type request struct {
	method, target string
	header         http.Header
	body           []byte
	stream         io.Reader // instead of body, without a Content-Length
}

// answer is a response whose body has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
	what   string
	url    *url.URL
}

// send fails the test where there is no whole answer, or a failure of the
// deployment: no input is to cause one.
func (r repository) send(t *testing.T, q request) answer {
	t.Helper()
	a, err := r.try(q)
	switch {
	case err != nil:
		t.Fatal(err)
	case a.status >= http.StatusInternalServerError:
		t.Fatalf("%s: got status %d: no input is to cause one; body %s", a.what, a.status, clip(string(a.body)))
	}
	checkWarnings(t, a.what, a.header)
	return a
}

// try is send where something may be wrong.
func (r repository) try(q request) (answer, error) {
	base, err := url.Parse(r.base)
	if err != nil {
		return answer{}, err
	}
	target, err := base.Parse(q.target)
	if err != nil {
		return answer{}, fmt.Errorf("%q does not resolve: %w", q.target, err)
	}
	body := q.stream
	if body == nil {
		body = bytes.NewReader(q.body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, q.method, target.String(), body)
	if err != nil {
		return answer{}, err
	}
	for key, values := range q.header {
		req.Header[http.CanonicalHeaderKey(key)] = values
	}
	res, err := r.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	what := q.method + " " + clip(target.RequestURI())
	if err != nil {
		return answer{}, fmt.Errorf("%s: the body was cut off: %w", what, err)
	}
	return answer{res.StatusCode, res.Header, got, what, target}, nil
}

// stale is the Warning of a tag whose upstream is out (RFC 7234, section 5.5.1).
const stale = `110 - "Response is Stale"`

// checkWarnings holds warnings to their form and size ("Warnings").
func checkWarnings(t *testing.T, what string, h http.Header) {
	t.Helper()
	size := 0
	for _, warning := range h.Values("Warning") {
		size += len(warning)
		if warning != stale && !strings.HasPrefix(warning, `299 - "`) || !strings.HasSuffix(warning, `"`) || size > 4096 {
			t.Errorf("%s: got Warning %q, %d bytes so far", what, clip(warning), size)
		}
	}
}

func (r repository) get(t *testing.T, target string, header ...string) answer {
	t.Helper()
	return r.send(t, request{method: http.MethodGet, target: target, header: headers(header...)})
}

func (r repository) head(t *testing.T, target string, header ...string) answer {
	t.Helper()
	return r.send(t, request{method: http.MethodHead, target: target, header: headers(header...)})
}

func (r repository) remove(t *testing.T, target string) answer {
	t.Helper()
	return r.send(t, request{method: http.MethodDelete, target: target})
}

// headers takes keys and values in turn.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for pair := range slices.Chunk(pairs, 2) {
		h.Add(pair[0], pair[1])
	}
	return h
}

// want fails the test unless the answer has one of the statuses.
func (a answer) want(t *testing.T, statuses ...int) answer {
	t.Helper()
	if !slices.Contains(statuses, a.status) {
		t.Fatalf("%s: got status %d, want %v; body %s", a.what, a.status, statuses, clip(string(a.body)))
	}
	return a
}

// wantHeader fails the test unless the header is there once, with that value.
func (a answer) wantHeader(t *testing.T, key, value string) answer {
	t.Helper()
	if got := a.header.Values(key); len(got) != 1 || got[0] != value {
		t.Fatalf("%s: got %s %q, want %q", a.what, key, got, value)
	}
	return a
}

// wantNoHeader fails the test if the header is there.
func (a answer) wantNoHeader(t *testing.T, key string) answer {
	t.Helper()
	if got := a.header.Values(key); len(got) > 0 {
		t.Fatalf("%s: got %s %q, want none", a.what, key, got)
	}
	return a
}

// wantBody fails the test unless the body is that, byte for byte.
func (a answer) wantBody(t *testing.T, body []byte) answer {
	t.Helper()
	if !bytes.Equal(a.body, body) {
		t.Fatalf("%s: got %d bytes %q, want %d bytes %q", a.what, len(a.body), clip(string(a.body)), len(body), clip(string(body)))
	}
	return a
}

// errorCode is the closed list of the spec ("Error Codes").
var errorCode = regexp.MustCompile(`^(BLOB_(UNKNOWN|UPLOAD_(INVALID|UNKNOWN))|DIGEST_INVALID|MANIFEST_(BLOB_UNKNOWN|INVALID|UNKNOWN)|NAME_(INVALID|UNKNOWN)|SIZE_INVALID|UNAUTHORIZED|DENIED|UNSUPPORTED|TOOMANYREQUESTS)$`)

// wantCode fails the test unless the body is the error body of the spec and
// holds one of the codes.
func (a answer) wantCode(t *testing.T, codes ...string) answer {
	t.Helper()
	var body struct {
		Errors []struct {
			Code    string          `json:"code"`
			Message *string         `json:"message"`
			Detail  json.RawMessage `json:"detail"`
		} `json:"errors"`
	}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil || len(body.Errors) == 0 {
		t.Fatalf("%s: not an error body (%v): %s", a.what, err, clip(string(a.body)))
	}
	var got []string
	for _, e := range body.Errors {
		if !errorCode.MatchString(e.Code) {
			t.Fatalf("%s: %q is not an error code", a.what, e.Code)
		}
		got = append(got, e.Code)
	}
	for _, code := range codes {
		if slices.Contains(got, code) {
			return a
		}
	}
	t.Fatalf("%s: got error codes %v, want one of %v", a.what, got, codes)
	return a
}

// location is where the answer leads, absolute.
func (a answer) location(t *testing.T) string {
	t.Helper()
	values := a.header.Values("Location")
	if len(values) != 1 || values[0] == "" {
		t.Fatalf("%s: got Location %q, want one", a.what, values)
	}
	u, err := a.url.Parse(values[0])
	if err != nil {
		t.Fatalf("%s: Location %q does not resolve: %v", a.what, values[0], err)
	}
	return u.String()
}

// nextPage is where the Link header leads; empty without one.
func (a answer) nextPage(t *testing.T) string {
	t.Helper()
	values := a.header.Values("Link")
	if len(values) == 0 {
		return ""
	}
	target, rel, ok := strings.Cut(values[0], ">; ")
	target, isTarget := strings.CutPrefix(target, "<")
	if len(values) > 1 || !ok || !isTarget || rel != `rel="next"` {
		t.Fatalf(`%s: got Link %q, want <url>; rel="next"`, a.what, values)
	}
	u, err := a.url.Parse(target)
	if err != nil {
		t.Fatalf("%s: Link %q does not resolve: %v", a.what, target, err)
	}
	return u.String()
}

// decode reads a JSON body.
func (a answer) decode(t *testing.T, into any) answer {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("%s: %v: %s", a.what, err, clip(string(a.body)))
	}
	return a
}

// withQuery adds a parameter to a location, which may have some already.
func withQuery(t *testing.T, location, key string, values ...string) string {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for _, v := range values {
		q.Add(key, v)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func clip(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
