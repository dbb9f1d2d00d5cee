package registry_test

import (
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// sink counts connections to it.
type sink struct {
	addr  string
	count atomic.Int64
}

func newSink(t *testing.T) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &sink{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.count.Add(1)
			_ = conn.Close()
		}
	}()
	return s
}

func (s *sink) connections() int64 { return s.count.Load() }

func TestBlobWholeAndInRanges(t *testing.T) {
	b := start(t, tenant.Settings{})
	const content = "0123456789abcdefghij"
	blob := b.PutBlob(b.repo("app"), []byte(content))
	path := "/v2/app/blobs/" + blob.Digest.String()
	for _, method := range []string{"GET", "HEAD"} {
		got := b.do(method, path)
		b.expect(method, got, 200, "")
		for name, want := range map[string]string{
			"Content-Length": "20", "Content-Type": "application/octet-stream", "Docker-Content-Digest": blob.Digest.String(),
			"ETag": `"` + blob.Digest.String() + `"`, "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff",
		} {
			if h := got.Header.Get(name); h != want {
				t.Errorf("%s: %s is %q", method, name, h)
			}
		}
		if method == "GET" && got.Body != content {
			t.Errorf("body %q", got.Body)
		}
	}
	etag := `"` + blob.Digest.String() + `"`
	for _, c := range []struct {
		header []string
		status int
		body   string
		ranged string
	}{
		{[]string{"Range", "bytes=0-3"}, 206, "0123", "bytes 0-3/20"},
		{[]string{"Range", "bytes=18-"}, 206, "ij", "bytes 18-19/20"},
		{[]string{"Range", "bytes=-1"}, 206, "j", "bytes 19-19/20"},
		{[]string{"Range", "bytes=19-1000"}, 206, "j", "bytes 19-19/20"},
		{[]string{"Range", "bytes=0-0", "If-Range", etag}, 206, "0", "bytes 0-0/20"},
		{[]string{"Range", "bytes=0-0", "If-Range", `"other"`}, 200, content, ""},
		{[]string{"If-None-Match", etag}, 304, "", ""},
		{[]string{"If-Match", `"other"`}, 412, "", ""},
	} {
		got := b.do("GET", path, c.header...)
		if got.Status != c.status || got.Body != c.body || got.Header.Get("Content-Range") != c.ranged {
			t.Errorf("%v: %d %q %q", c.header, got.Status, got.Body, got.Header.Get("Content-Range"))
		}
	}
	if got := b.do("GET", path, "Range", "bytes=20-"); got.Status != 416 || got.Header.Get("Content-Range") != "bytes */20" {
		t.Errorf("behind the end: %d %v", got.Status, got.Header)
	}
}

// TestQ18_RangesThatCannotBeUnderstood ask for the whole, of whatever it is.
func TestQ18_RangesThatCannotBeUnderstood(t *testing.T) {
	b := start(t, tenant.Settings{})
	blob := b.PutBlob(b.repo("app"), []byte("0123456789abcdefghij"))
	image := b.image("app", "layer")
	b.pushed("/v2/app/manifests/1", image)
	for path, size := range map[string]int{
		"/v2/app/blobs/" + blob.Digest.String(): 20, "/v2/app/manifests/1": len(image), "/v2/app/tags/list": len(`{"name":"app","tags":["1"]}` + "\n"),
	} {
		for ranges, want := range map[string]int{
			"lines=1-2": 200, "bytes=5-2": 200, "bytes=x": 200, "bytes": 200, "bytes=1-2,2-3": 200, "Bytes=0-3": 206,
			"bytes=0-99999999999999999999": 206, "bytes=5000-": 416, "bytes=99999999999999999999-": 416, "bytes=-0": 416,
		} {
			got := b.do("GET", path, "Range", ranges)
			if got.Status != want || want == 200 && len(got.Body) != size {
				t.Errorf("%s of %s: %d with %d bytes, want %d", ranges, path, got.Status, len(got.Body), want)
			}
		}
	}
}

func TestBlobInSeveralRanges(t *testing.T) {
	b := start(t, tenant.Settings{})
	blob := b.PutBlob(b.repo("app"), []byte("0123456789abcdefghij"))
	got := b.do("GET", "/v2/app/blobs/"+blob.Digest.String(), "Range", "bytes=0-1,5-6,-2")
	mediaType, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	if err != nil || got.Status != 206 || mediaType != "multipart/byteranges" {
		t.Fatalf("%d %v %v", got.Status, got.Header, err)
	}
	parts := multipart.NewReader(strings.NewReader(got.Body), params["boundary"])
	for _, want := range []string{"bytes 0-1/20 01", "bytes 5-6/20 56", "bytes 18-19/20 ij"} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if s := p.Header.Get("Content-Range") + " " + string(body); s != want {
			t.Errorf("part %q, want %q", s, want)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
}

func TestEmptyBlob(t *testing.T) {
	b := start(t, tenant.Settings{})
	blob := b.PutBlob(b.repo("app"), nil)
	got := b.do("GET", "/v2/app/blobs/"+blob.Digest.String())
	if got.Status != 200 || got.Body != "" || got.Header.Get("Content-Length") != "0" {
		t.Errorf("%d %q %v", got.Status, got.Body, got.Header)
	}
}

func TestA11_BlobIsNeverAPage(t *testing.T) {
	b := start(t, tenant.Settings{})
	blob := b.PutBlob(b.repo("app"), []byte("<!DOCTYPE html><script>alert(1)</script>"))
	got := b.do("GET", "/v2/app/blobs/"+blob.Digest.String(), "Accept", "text/html")
	if got.Header.Get("Content-Type") != "application/octet-stream" || got.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v", got.Header)
	}
}

func TestDeleteBlob(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("app", "layer")
	b.pushed("/v2/app/manifests/1", image)
	b.expect("referenced", b.do("DELETE", "/v2/app/blobs/"+digestOf("layer")), 405, "UNSUPPORTED")
	b.expect("manifest", b.do("DELETE", "/v2/app/manifests/"+digestOf(image)), 202, "")
	b.expect("free", b.do("DELETE", "/v2/app/blobs/"+digestOf("layer")), 202, "")
	b.expect("again", b.do("DELETE", "/v2/app/blobs/"+digestOf("layer")), 404, "BLOB_UNKNOWN")
	b.expect("gone", b.do("GET", "/v2/app/blobs/"+digestOf("layer")), 404, "BLOB_UNKNOWN")
}

// objectFile is the one file in the store whose content is as given.
func objectFile(t *testing.T, b *bench, content string) string {
	t.Helper()
	found := ""
	err := filepath.WalkDir(b.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		got, err := os.ReadFile(path)
		if err == nil && string(got) == content {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("no object %q: %v", content, err)
	}
	return found
}

func TestD8_LostOrShortObjectIsAnOutageUntilItIsPushedAgain(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"lost":  os.Remove,
		"short": func(p string) error { return os.Truncate(p, 3) },
		"long":  func(p string) error { return os.Truncate(p, 300) },
	} {
		b := start(t, tenant.Settings{})
		blob := b.PutBlob(b.repo("app"), []byte("content of "+name))
		path := "/v2/app/blobs/" + blob.Digest.String()
		file := objectFile(t, b, "content of "+name)
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := damage(file); err != nil {
			t.Fatal(err)
		}
		got := b.do("GET", path)
		b.expect(name, got, 503, "UNAVAILABLE")
		if got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", name)
		}
		// A client that may push is told that it is absent, and so pushes it again.
		b.expect(name+": HEAD by a pusher", b.do("HEAD", path), 404, "")
		b.PutBlob(b.repo("app"), []byte("content of "+name))
		if got := b.do("GET", path); got.Status != 200 || got.Body != "content of "+name {
			t.Errorf("%s: healed: %d %q", name, got.Status, got.Body)
		}
	}
}

func TestBlobOfAnotherAlgorithmIsAnotherBlob(t *testing.T) {
	b := start(t, tenant.Settings{})
	b.PutBlob(b.repo("app"), []byte("x"))
	b.expect("sha512", b.do("GET", "/v2/app/blobs/"+oci.DigestOf(oci.SHA512, []byte("x")).String()), 404, "BLOB_UNKNOWN")
}
