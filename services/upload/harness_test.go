package upload_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/upload"
)

// client pushes to one repository, as the account "writer" of its tenant.
type client struct {
	*fronttest.Deployment
	t    testing.TB
	site tenant.Site
	name string
	auth string
}

// serve runs the service on a deployment; wrap stands between the service and
// its stores where a test needs them to fail.
func serve(t testing.TB, wrap func(*upload.Config)) client {
	t.Helper()
	d := fronttest.New(t)
	c := upload.Config{Meta: d.Meta, Blobs: d.Blobs}
	if wrap != nil {
		wrap(&c)
	}
	d.Serve(front.Services{Upload: upload.NewHandler(upload.New(c), d.Middlewares()...)})
	return writerOf(t, d, "acme")
}

// writerOf makes a tenant with a writer.
func writerOf(t testing.TB, d *fronttest.Deployment, slug string) client {
	t.Helper()
	site := d.Tenant(slug, tenant.Settings{})
	c := client{Deployment: d, t: t, site: site, name: "team/app"}
	c.auth = d.Token(site, d.Account(site, "writer", access.Writer), access.Repository(c.name, access.Pull|access.Push))
	return c
}

// in is the client in another repository of its registry, with the same token.
func (c client) in(name string) client { c.name = name; return c }

func (c client) repo() meta.Repo {
	return fronttest.Repo(c.site, c.name)
}

func (c client) uploads(query string) string { return "/v2/" + c.name + "/blobs/uploads/" + query }

// send sends a request with headers given as name, value, name, value.
func (c client) send(method, path, body string, header ...string) fronttest.Answer {
	c.t.Helper()
	return c.Do(fronttest.Request{
		Method: method, Host: c.site.Host, Path: path, Body: body, Header: fronttest.Headers(header...), Bearer: c.auth,
	})
}

// stream sends a body whose length is not announced.
func (c client) stream(method, path string, body io.Reader, header ...string) (fronttest.Answer, error) {
	return c.Send(fronttest.Request{
		Method: method, Host: c.site.Host, Path: path, Stream: body, Header: fronttest.Headers(header...), Bearer: c.auth,
	})
}

// start starts a session and returns its path.
func (c client) start(query string) string {
	c.t.Helper()
	a := c.send(http.MethodPost, c.uploads(query), "")
	expect(c.t, a, http.StatusAccepted, "")
	if a.Header.Get("Range") != "0-0" || a.Header.Get("Docker-Upload-Uuid") == "" {
		c.t.Errorf("start: headers %v", a.Header)
	}
	location := a.Header.Get("Location")
	if !strings.HasPrefix(location, c.uploads("")) {
		c.t.Fatalf("Location %q is not a path below %s", location, c.uploads(""))
	}
	return location
}

// patch sends a chunk at an offset.
func (c client) patch(path string, at int, chunk []byte) fronttest.Answer {
	c.t.Helper()
	return c.send(http.MethodPatch, path, string(chunk), "Content-Range", fmt.Sprintf("%d-%d", at, at+len(chunk)-1))
}

// put closes a session.
func (c client) put(path string, d oci.Digest, body []byte) fronttest.Answer {
	c.t.Helper()
	return c.send(http.MethodPut, path+"?digest="+d.String(), string(body))
}

// mustOffset expects the session to stand at an offset greater than 0.
func (c client) mustOffset(path string, want int) {
	c.t.Helper()
	a := c.send(http.MethodGet, path, "")
	expect(c.t, a, http.StatusNoContent, "")
	if got := a.Header.Get("Range"); got != fmt.Sprintf("0-%d", want-1) {
		c.t.Fatalf("Range %q, want that of %d bytes", got, want)
	}
}

// mustStored expects the answer to a finished push.
func (c client) mustStored(a fronttest.Answer, d oci.Digest) {
	c.t.Helper()
	expect(c.t, a, http.StatusCreated, "")
	if got, want := a.Header.Get("Location"), "/v2/"+c.name+"/blobs/"+d.String(); got != want {
		c.t.Errorf("Location %q, want %q", got, want)
	}
	if got := a.Header.Get("Docker-Content-Digest"); got != d.String() {
		c.t.Errorf("Docker-Content-Digest %q, want %q", got, d)
	}
}

// mustHold expects the repository to have the blob, byte for byte.
func (c client) mustHold(content []byte) meta.Blob {
	c.t.Helper()
	return c.mustHoldAs(oci.DigestOf(oci.SHA256, content), content)
}

func (c client) mustHoldAs(d oci.Digest, content []byte) meta.Blob {
	c.t.Helper()
	b, err := c.Meta.FindBlob(c.t.Context(), c.repo(), d)
	if err != nil {
		c.t.Fatal(err)
	}
	o, err := c.Blobs.Open(c.t.Context(), b.Key)
	if err != nil {
		c.t.Fatal(err)
	}
	defer o.Close()
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, content) || b.Size != int64(len(content)) {
		c.t.Fatalf("blob has %d bytes, row says %d, %v; want %d, equal", len(got), b.Size, err, len(content))
	}
	return b
}

// mustLack expects the repository not to have the blob.
func (c client) mustLack(d oci.Digest) {
	c.t.Helper()
	if b, err := c.Meta.FindBlob(c.t.Context(), c.repo(), d); err == nil {
		c.t.Errorf("the repository has %s, of %d bytes", d, b.Size)
	}
}

func expect(t testing.TB, a fronttest.Answer, status int, code string) {
	t.Helper()
	if a.Status != status || a.Code() != code {
		t.Fatalf("%d %s, want %d %s: %s", a.Status, a.Code(), status, code, a.Body)
	}
}

func sha256Of(p []byte) oci.Digest { return oci.DigestOf(oci.SHA256, p) }
