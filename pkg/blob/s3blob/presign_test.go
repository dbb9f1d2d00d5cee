package s3blob_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// presigned is a URL of an object that was sealed with the content.
func presigned(t *testing.T, s *s3blob.Store, content []byte, life time.Duration) (*session, string) {
	t.Helper()
	x := newSession(t, s)
	x.mustAppend(content)
	x.mustSeal(content)
	u, err := blob.Presign(t.Context(), s, x.stage.Key, life)
	if err != nil {
		t.Fatal(err)
	}
	return x, u
}

// ask sends a request without any credentials.
func ask(t *testing.T, method, u string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(header) == 2 {
		req.Header.Set(header[0], header[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func TestF1_PresignedURLGivesOneObject(t *testing.T) {
	t.Parallel()
	s := open(t, testserver.S3(t), s3blob.Options{PartBytes: partBytes})
	want := ocitest.Noise(partBytes+9, 40)
	_, u := presigned(t, s, want, time.Minute)
	resp, got := ask(t, http.MethodGet, u)
	if resp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		t.Errorf("%s, %d bytes; want %d, equal", resp.Status, len(got), len(want))
	}
	for name, fixed := range map[string]string{
		"Content-Type": "application/octet-stream", "Content-Disposition": "attachment", "Cache-Control": "private, no-store",
	} {
		if h := resp.Header.Get(name); h != fixed {
			t.Errorf("%s is %q, want %q", name, h, fixed)
		}
	}
	resp, got = ask(t, http.MethodGet, u, "Range", "bytes=5-104")
	if resp.StatusCode != http.StatusPartialContent || !bytes.Equal(got, want[5:105]) {
		t.Errorf("a range: %s, %d bytes; want 100, equal", resp.Status, len(got))
	}
	if u, err := blob.Presign(t.Context(), struct{ blob.Opener }{s}, blob.Key{}, time.Minute); u != "" || err != nil {
		t.Errorf("a store that cannot sign: %q, %v", u, err)
	}
}

func TestF1_PresignedURLGivesNothingElse(t *testing.T) {
	t.Parallel()
	s := open(t, testserver.S3(t), s3blob.Options{PartBytes: partBytes})
	want := []byte("the object")
	x, u := presigned(t, s, want, time.Minute)
	other, _ := presigned(t, s, []byte("another object"), time.Minute)
	changed := func(name, value string) string {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		q := parsed.Query()
		q.Set(name, value)
		parsed.RawQuery = q.Encode()
		return parsed.String()
	}
	for name, c := range map[string]struct{ method, url string }{
		"another key":    {http.MethodGet, strings.Replace(u, x.stage.Key.String(), other.stage.Key.String(), 1)},
		"another tenant": {http.MethodGet, strings.Replace(u, "/o/3/", "/o/4/", 1)},
		"a longer life":  {http.MethodGet, changed("X-Amz-Expires", "3600")},
		"another type":   {http.MethodGet, changed("response-content-type", "text/html")},
		"shown inline":   {http.MethodGet, changed("response-content-disposition", "inline")},
		"PUT":            {http.MethodPut, u},
		"DELETE":         {http.MethodDelete, u},
	} {
		if resp, body := ask(t, c.method, c.url); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s %q, want 403", name, resp.Status, body)
		}
	}
	x.mustHold(want)
}

func TestF1_PresignedURLEnds(t *testing.T) {
	t.Parallel()
	s := open(t, testserver.S3(t), s3blob.Options{PartBytes: partBytes})
	x, u := presigned(t, s, []byte("for a moment"), time.Second)
	await.True(t, 30*time.Second, "the URL is answered 403", func() bool {
		resp, _ := ask(t, http.MethodGet, u)
		return resp.StatusCode == http.StatusForbidden
	})
	x.mustHold([]byte("for a moment"))
	for _, life := range []time.Duration{0, -time.Second, blob.MaxPresignLife + time.Second} {
		if u, err := s.Presign(t.Context(), x.stage.Key, life); err == nil {
			t.Errorf("a life of %s was signed: %s", life, u)
		}
	}
}

// Clients may know the store by another name than this process does.
func TestF1_PresignedURLNamesThePublicEndpoint(t *testing.T) {
	t.Parallel()
	p := newProxy(t) // it leads to the store and keeps the Host, as it has to
	parsed, err := url.Parse(p.address)
	if err != nil {
		t.Fatal(err)
	}
	public := parsed.Query().Get("endpoint")
	s := open(t, p.direct+"&public_endpoint="+url.QueryEscape(public), s3blob.Options{PartBytes: partBytes})
	want := []byte("reached by another name")
	_, u := presigned(t, s, want, time.Minute)
	if !strings.HasPrefix(u, public+"/") {
		t.Errorf("the URL %s does not begin with %s", u, public)
	}
	if resp, got := ask(t, http.MethodGet, u); resp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		t.Errorf("%s %q", resp.Status, got)
	}
	if n := p.play("GetObject", nil); n != 1 {
		t.Errorf("the public endpoint saw %d requests, want one", n)
	}
	if n := p.play("PutObject", nil); n != 0 {
		t.Errorf("the public endpoint saw %d of our own requests", n)
	}
}
