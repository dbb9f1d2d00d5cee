package upstream

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/oci"
)

// TestT59_TheWitness sees what the upstream answers to the credential, and nothing else.
func TestT59_TheWitness(t *testing.T) {
	const cdn = "https://cdn.example.net"
	bob := Config{Target: Target{URL: origin, Username: "bob", Password: "secret"}}
	basic := func(good http.HandlerFunc) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "bob" || password != "secret" {
				rw.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				rw.WriteHeader(http.StatusUnauthorized)
				return
			}
			good(rw, r)
		}
	}
	leads := func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, cdn+r.URL.Path, http.StatusTemporaryRedirect)
	}
	manifest := func(ctx context.Context, c *Client) { _, _ = c.Manifest(ctx, "a/b", latest) }
	head := func(ctx context.Context, c *Client) { _, _ = c.HeadManifest(ctx, "a/b", "latest") }
	stat := func(ctx context.Context, c *Client) { _, _ = c.HasBlob(ctx, "a/b", oci.DigestOf(oci.SHA256, nil)) }
	page := func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = rw.Write([]byte("<html>"))
	}
	for name, c := range map[string]struct {
		config Config
		serve  http.HandlerFunc
		ask    func(context.Context, *Client)
		want   int
	}{
		"a manifest for the password":       {bob, basic(sendImage), manifest, 1},
		"a HEAD for the password":           {bob, basic(sendImage), head, 1},
		"another password":                  {Config{Target: Target{URL: origin, Username: "bob", Password: "wrong"}}, basic(sendImage), manifest, 0},
		"no challenge":                      {bob, sendImage, manifest, 0},
		"no credential":                     {Config{Target: Target{URL: origin}}, sendImage, manifest, 0},
		"an absence":                        {bob, basic(http.NotFound), manifest, 0},
		"a page":                            {bob, basic(page), manifest, 0},
		"a page for a HEAD":                 {bob, basic(page), head, 0},
		"a page for a blob":                 {bob, basic(page), stat, 0},
		"a manifest of another host":        {bob, basic(leads), manifest, 0},
		"a blob of the storage it leads to": {bob, basic(leads), stat, 1},
		"a blob without a login":            {bob, leads, stat, 0},
	} {
		w, cs := newWorld()
		w.hosts[origin], w.hosts[cdn] = c.serve, sendImage
		seen := 0
		c.ask(WithWitness(t.Context(), func(context.Context) { seen++ }), clientOf(t, cs, c.config))
		if seen != c.want {
			t.Errorf("%s: seen %d times, want %d", name, seen, c.want)
		}
	}
	w, cs := withRealm(origin, origin+"/token")
	seen := 0
	ctx := WithWitness(t.Context(), func(context.Context) { seen++ })
	if _, err := clientOf(t, cs, bob).Manifest(ctx, "a/b", latest); err != nil || seen != 1 {
		t.Errorf("a token that was issued to the credential: seen %d times, %v", seen, err)
	}
	if _, err := clientOf(t, cs, Config{Target: Target{URL: origin}}).Manifest(ctx, "a/b", latest); err != nil || seen != 1 {
		t.Errorf("a token for anyone: seen %d times, %v", seen, err)
	}
	for _, r := range w.requests() {
		if !strings.HasPrefix(r.URL.String(), origin) {
			t.Errorf("asked %s", r.URL)
		}
	}
}
