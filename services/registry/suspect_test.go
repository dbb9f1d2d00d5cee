package registry_test

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/registry"
)

// flip changes a byte of the object that has the content.
func flip(t *testing.T, b *bench, content string) {
	t.Helper()
	file, wrong := objectFile(t, b, content), []byte(content)
	wrong[len(wrong)/2] ^= 1
	err := os.Chmod(file, 0o600)
	if err == nil {
		err = os.WriteFile(file, wrong, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// broken fails the test unless the answer breaks off, or never begins.
func (b *bench) broken(what, path string, headers ...string) {
	b.t.Helper()
	a, err := b.Send(fronttest.Request{Method: "GET", Host: b.site.Host, Path: path, Basic: "admin", Header: fronttest.Headers(headers...)})
	if err == nil && a.Status < http.StatusBadRequest {
		b.t.Errorf("%s: a clean answer: %d, %d bytes", what, a.Status, len(a.Body))
	}
}

// TestD8_W76_WrongBytesAreNeverAWholeAnswer of a blob that is suspect, by range or as a whole,
// and the right ones are.
func TestD8_W76_WrongBytesAreNeverAWholeAnswer(t *testing.T) {
	content := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<14))
	b := start(t, tenant.Settings{})
	blob := b.PutBlob(b.repo("app"), []byte(content))
	path := "/v2/app/blobs/" + blob.Digest.String()
	if err := b.Meta.MarkSuspect(t.Context(), blob); err != nil {
		t.Fatal(err)
	}
	if got := b.do("GET", path); got.Status != http.StatusOK || got.Body != content {
		t.Errorf("a suspect blob that is right: %d, %d bytes", got.Status, len(got.Body))
	}
	flip(t, b, content)
	b.broken("whole", path)
	b.broken("the end", path, "Range", "bytes=200000-")
	b.expect("HEAD by a pusher", b.do("HEAD", path), 404, "")

	// What the scrub has read is not sent at all.
	if _, err := b.Meta.ReportDamage(t.Context(), fronttest.By(), meta.Damaged{Blob: blob, Damage: meta.Rotten}); err != nil {
		t.Fatal(err)
	}
	got := b.do("GET", path)
	b.expect("rotten", got, 503, "UNAVAILABLE")
	if got.Header.Get("Retry-After") == "" || !strings.Contains(got.Body, "a push of the blob repairs it") {
		t.Errorf("%v %s", got.Header, got.Body)
	}
	b.PutBlob(b.repo("app"), []byte(content))
	if got := b.do("GET", path, "Range", "bytes=0-3"); got.Status != http.StatusPartialContent || got.Body != "0123" {
		t.Errorf("healed: %d %q", got.Status, got.Body)
	}
}

// TestW77_EveryPullIsVerifiedIfTheOperatorWants, also of what no scrub has found yet.
func TestW77_EveryPullIsVerifiedIfTheOperatorWants(t *testing.T) {
	b := startConfigured(t, front.NotConfigured("proxy", "proxy_url"), tenant.Settings{}, func(c *registry.Config) { c.Verify = true })
	sound, rotten := b.PutBlob(b.repo("app"), []byte("sound")), b.PutBlob(b.repo("app"), []byte("rotten"))
	flip(t, b, "rotten")
	if got := b.do("GET", "/v2/app/blobs/"+sound.Digest.String(), "Range", "bytes=0-1"); got.Status != http.StatusOK || got.Body != "sound" {
		t.Errorf("%d %q", got.Status, got.Body)
	}
	b.broken("rotten", "/v2/app/blobs/"+rotten.Digest.String())
	b.expect("HEAD by a pusher, after a pull has seen it", b.do("HEAD", "/v2/app/blobs/"+rotten.Digest.String()), 404, "")
}
