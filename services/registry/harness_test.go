package registry_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/internal/usage"
	"github.com/berth-registry/berth/services/registry"
)

// bench is a deployment with the registry service and one tenant, acme, whose
// account "admin" may do everything.
type bench struct {
	*fronttest.Deployment
	t    testing.TB
	site tenant.Site
}

func start(t testing.TB, s tenant.Settings) *bench {
	t.Helper()
	return startBefore(t, front.NotConfigured("proxy", "proxy_url"), s)
}

// startBefore is start with another proxy service than none.
func startBefore(t testing.TB, proxy http.Handler, s tenant.Settings) *bench {
	t.Helper()
	return startConfigured(t, proxy, s, func(*registry.Config) {})
}

// startConfigured is startBefore with another configuration.
func startConfigured(t testing.TB, proxy http.Handler, s tenant.Settings, edit func(*registry.Config)) *bench {
	t.Helper()
	d := fronttest.New(t)
	d.Usage = usage.New(d.Meta, d.Log)
	c := registry.Config{Meta: d.Meta, Blobs: d.Blobs, Log: d.Log}
	edit(&c)
	svc := registry.New(c)
	d.Serve(front.Services{Registry: registry.NewHandler(svc, proxy, d.Middlewares()...), Proxy: proxy})
	b := &bench{Deployment: d, t: t, site: d.Tenant("acme", s)}
	d.Account(b.site, "admin", access.Admin)
	return b
}

func (b *bench) repo(name string) meta.Repo {
	return fronttest.Repo(b.site, name)
}

// do asks as admin.
func (b *bench) do(method, path string, header ...string) fronttest.Answer {
	b.t.Helper()
	return b.Do(fronttest.Request{Method: method, Host: b.site.Host, Path: path, Basic: "admin", Header: fronttest.Headers(header...)})
}

func (b *bench) put(path, contentType, body string) fronttest.Answer {
	b.t.Helper()
	return b.Do(fronttest.Request{
		Method: "PUT", Host: b.site.Host, Path: path, Body: body, Basic: "admin", Header: fronttest.Headers("Content-Type", contentType),
	})
}

// pushed puts a manifest that must be taken and returns its digest.
func (b *bench) pushed(path, body string) string {
	b.t.Helper()
	a := b.put(path, "", body)
	if a.Status != http.StatusCreated {
		b.t.Fatalf("PUT %s: %d %s", path, a.Status, a.Body)
	}
	return a.Header.Get("Docker-Content-Digest")
}

// image stores a config and a layer in the repository and returns the manifest
// of an image of both.
func (b *bench) image(repo, content string) string {
	config, layer := ocitest.ConfigBy(content), ocitest.Layer([]byte(content))
	b.PutBlob(b.repo(repo), config.Bytes)
	b.PutBlob(b.repo(repo), layer.Bytes)
	return string(ocitest.Manifest(config, layer).Bytes)
}

// index is an index of manifests, which may be indexes.
func index(manifests ...string) string {
	var list []ocitest.Content
	for _, m := range manifests {
		mediaType := oci.MediaTypeImageManifest
		if strings.Contains(m, `"manifests"`) {
			mediaType = oci.MediaTypeImageIndex
		}
		list = append(list, ocitest.New(mediaType, []byte(m)))
	}
	return string(ocitest.Index(list...).Bytes)
}

// referrer is an artifact without content of its own that refers to subject.
func referrer(subject, artifactType string, annotations map[string]string) string {
	about := ocitest.New(oci.MediaTypeImageManifest, []byte(subject))
	return string(ocitest.Extra{ArtifactType: artifactType, Subject: &about.Descriptor, Annotations: annotations}.Index().Bytes)
}

func descriptor(mediaType, digest string, size int64) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest, size)
}

func digestOf(content string) string { return oci.DigestOf(oci.SHA256, []byte(content)).String() }

func (b *bench) expect(what string, a fronttest.Answer, status int, code string) {
	b.t.Helper()
	if a.Status != status || a.Code() != code {
		b.t.Errorf("%s: %d %s, want %d %s", what, a.Status, a.Body, status, code)
	}
}
