package testserver

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// RegistryOptions says what a registry is; the zero value is open to anybody.
type RegistryOptions struct {
	// Token asks for tokens, which the registry's token server gives for
	// RegistryUser and RegistryPassword.
	Token bool
	// Anonymous lets the token server give anyone tokens to pull.
	Anonymous bool
	// ProxyTo is the URL of the registry that it is a pull-through cache of.
	ProxyTo string
}

// Registry is a registry of the distribution project, empty at first, that
// clients reach by its door. It goes with the test.
type Registry struct {
	*Door
	Tokens *Door // its token server's; nil without RegistryOptions.Token

	direct string
	signer *tokenSigner // nil without RegistryOptions.Token
}

// StartRegistry starts a registry of one test's own.
func StartRegistry(t testing.TB, o RegistryOptions) *Registry {
	t.Helper()
	r := &Registry{}
	if o.Token {
		r.signer = newTokenSigner(o.Anonymous)
		r.Tokens = openDoor(t, r.signer, nil)
	}
	r.run(t, o)
	server, err := url.Parse(r.direct)
	if err != nil {
		t.Fatal(err)
	}
	r.Door = openDoor(t, &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { // it names itself by the Host that it is asked for
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = server.Scheme, server.Host, p.In.Host
		},
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		ErrorLog:  log.New(io.Discard, "", 0),
	}, nil)
	return r
}

// run starts the program.
func (r *Registry) run(t testing.TB, o RegistryOptions) {
	t.Helper()
	program, err := findProgram("registry")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := account{}.directory("berth-registry")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	addr := FreeAddr(t)
	r.direct = "http://" + addr
	file := filepath.Join(dir, "config.yml")
	if err := r.configure(dir, file, addr, o.ProxyTo); err != nil {
		t.Fatal(err)
	}
	cmd := account{}.command(dir, syscall.SIGKILL, program, "serve", file)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	server, err := startAnswering(cmd, r.answers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.stop(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
}

// configure writes the program's configuration.
func (r *Registry) configure(dir, file, addr, proxyTo string) error {
	config := fmt.Sprintf(`
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}
http: {addr: %q, secret: tests}
`, filepath.Join(dir, "data"), addr)
	if proxyTo != "" {
		config += fmt.Sprintf("proxy: {remoteurl: %q}\n", proxyTo)
	}
	if r.signer != nil {
		keys := filepath.Join(dir, "jwks.json")
		if err := os.WriteFile(keys, r.signer.keySet(), 0o600); err != nil {
			return err
		}
		config += fmt.Sprintf("auth: {token: {realm: %q, service: %q, issuer: %q, jwks: %q, signingalgorithms: [EdDSA]}}\n",
			r.Tokens.URL()+"/token", tokenService, tokenIssuer, keys)
	}
	return os.WriteFile(file, []byte(config), 0o600)
}

// answers says whether the program answers, in whatever way.
func (r *Registry) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.direct+"/v2/", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	return err == nil && resp.Body.Close() == nil
}

// Direct is the URL past the door: what comes there is not counted, nor does it
// wait. Only one caller should use it, or counts mean little.
func (r *Registry) Direct() string { return r.direct }

// Push stores an image past the door, its index under each tag.
func (r *Registry) Push(t testing.TB, name string, img ocitest.Image, tags ...string) {
	t.Helper()
	c := r.client(name)
	for _, b := range img.Blobs() {
		at, err := c.Open(t.Context(), name)
		if err == nil {
			err = c.Close(t.Context(), at, b.Digest.String(), b.Bytes)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.PushManifest(t, name, img.Manifest, img.Manifest.Digest.String())
	r.PushManifest(t, name, img.Index, append(tags, img.Index.Digest.String())...)
}

// PushManifest stores a manifest past the door, whose content is there already,
// under each reference.
func (r *Registry) PushManifest(t testing.TB, name string, m ocitest.Content, references ...string) {
	t.Helper()
	c := r.client(name)
	header := http.Header{"Content-Type": {m.MediaType}}
	for _, reference := range references {
		if _, err := c.Do(t.Context(), http.MethodPut, "/v2/"+name+"/manifests/"+reference, m.Bytes, header, http.StatusCreated); err != nil {
			t.Fatal(err)
		}
	}
}

// client may do everything with the repository.
func (r *Registry) client(name string) *ociclient.Client {
	c := &ociclient.Client{Base: r.direct, HTTP: http.DefaultClient}
	if r.signer != nil {
		c.Token = r.signer.sign(RegistryUser, []tokenAccess{{Type: "repository", Name: name, Actions: []string{"pull", "push", "delete"}}})
	}
	return c
}
