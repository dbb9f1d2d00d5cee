package registry_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

func TestManifestByTagAndDigest(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("a/b", "layer")
	digest := digestOf(image)
	put := b.put("/v2/a/b/manifests/v1", oci.MediaTypeImageManifest, image)
	b.expect("PUT", put, 201, "")
	if l := put.Header.Get("Location"); l != "/v2/a/b/manifests/"+digest || put.Header.Get("Docker-Content-Digest") != digest {
		t.Errorf("Location %q, headers %v", l, put.Header)
	}
	for _, ref := range []string{"v1", digest, strings.Replace(digest, ":", "%3A", 1)} {
		for _, method := range []string{"GET", "HEAD"} {
			got := b.do(method, "/v2/a/b/manifests/"+ref)
			b.expect(method+" "+ref, got, 200, "")
			for name, want := range map[string]string{
				"Docker-Content-Digest": digest, "ETag": `"` + digest + `"`, "Content-Type": oci.MediaTypeImageManifest,
				"Content-Length": fmt.Sprint(len(image)), "Docker-Distribution-Api-Version": "registry/2.0",
			} {
				if h := got.Header.Get(name); h != want {
					t.Errorf("%s %s: %s is %q", method, ref, name, h)
				}
			}
			if method == "GET" && got.Body != image || method == "HEAD" && got.Body != "" {
				t.Errorf("%s %s: body %q", method, ref, got.Body)
			}
			if got := b.do(method, "/v2/a/b/manifests/"+ref, "If-None-Match", `"`+digest+`"`); got.Status != 304 || got.Body != "" {
				t.Errorf("%s %s If-None-Match: %d %q", method, ref, got.Status, got.Body)
			}
		}
	}
	b.expect("unknown tag", b.do("GET", "/v2/a/b/manifests/v2"), 404, "MANIFEST_UNKNOWN")
	b.expect("unknown digest", b.do("GET", "/v2/a/b/manifests/"+digestOf("x")), 404, "MANIFEST_UNKNOWN")
	b.expect("unknown repository", b.do("GET", "/v2/a/manifests/v1"), 404, "NAME_UNKNOWN")
	b.expect("POST", b.do("POST", "/v2/a/b/manifests/v1"), 405, "UNSUPPORTED")
}

func TestManifestByAnotherAlgorithmAndWithTags(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("app", "layer")
	digest := oci.DigestOf(oci.SHA512, []byte(image)).String()
	put := b.put("/v2/app/manifests/"+digest+"?tag=b&tag=a&tag=b", "", image)
	b.expect("PUT", put, 201, "")
	if tags := fmt.Sprint(put.Header.Values("OCI-Tag")); tags != "[a b]" || put.Header.Get("Docker-Content-Digest") != digest {
		t.Errorf("headers %v", put.Header)
	}
	for _, ref := range []string{"a", "b", digest} {
		if got := b.do("GET", "/v2/app/manifests/"+ref); got.Body != image || got.Header.Get("Docker-Content-Digest") != digest {
			t.Errorf("%s: %d %s %v", ref, got.Status, got.Body, got.Header)
		}
	}
	b.expect("malformed tag", b.put("/v2/app/manifests/"+digest+"?tag=a&tag=.b", "", image), 400, "MANIFEST_INVALID")
	b.expect("other digest", b.put("/v2/app/manifests/"+digestOf("x"), "", image), 400, "DIGEST_INVALID")
	b.expect("nothing of the refused push", b.do("GET", "/v2/app/manifests/"+digestOf(image)), 404, "MANIFEST_UNKNOWN")
}

func TestManifestNeedsWhatItNames(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("app", "layer")
	b.expect("blobs of another repository", b.put("/v2/other/manifests/1", "", image), 404, "MANIFEST_BLOB_UNKNOWN")
	b.expect("missing child", b.put("/v2/app/manifests/1", "", index(image)), 404, "MANIFEST_BLOB_UNKNOWN")
	b.pushed("/v2/app/manifests/"+digestOf(image), image)
	b.pushed("/v2/app/manifests/1", index(image))

	sparse := b.Registry(b.site, "sparse", tenant.Settings{AllowMissingReferences: true})
	b.site = sparse
	b.pushed("/v2/other/manifests/1", image)
	b.pushed("/v2/other/manifests/2", index(image))
}

func TestDeleteManifestAndTag(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("app", "layer")
	for _, tag := range []string{"v1", "v2"} {
		b.pushed("/v2/app/manifests/"+tag, image)
	}
	b.expect("tag", b.do("DELETE", "/v2/app/manifests/v1"), 202, "")
	b.expect("tag again", b.do("DELETE", "/v2/app/manifests/v1"), 404, "MANIFEST_UNKNOWN")
	b.expect("the other tag", b.do("GET", "/v2/app/manifests/v2"), 200, "")
	b.expect("digest", b.do("DELETE", "/v2/app/manifests/"+digestOf(image)), 202, "")
	b.expect("the tag went along", b.do("GET", "/v2/app/manifests/v2"), 404, "MANIFEST_UNKNOWN")
	b.expect("digest again", b.do("DELETE", "/v2/app/manifests/"+digestOf(image)), 404, "MANIFEST_UNKNOWN")
}

func TestQ10_ManifestThatAnIndexNamesStays(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("app", "layer")
	b.pushed("/v2/app/manifests/child", image)
	list := index(image)
	b.pushed("/v2/app/manifests/list", list)
	b.expect("the tag of the index", b.do("DELETE", "/v2/app/manifests/list"), 202, "")
	refused := b.do("DELETE", "/v2/app/manifests/"+digestOf(image))
	b.expect("child of an untagged index", refused, 405, "UNSUPPORTED")
	if want := `"detail":{"parents":["` + digestOf(list) + `"]}`; !strings.Contains(refused.Body, want) {
		t.Errorf("%s, want %s", refused.Body, want)
	}
	b.expect("its tag", b.do("GET", "/v2/app/manifests/child"), 200, "")
	b.expect("index", b.do("DELETE", "/v2/app/manifests/"+digestOf(list)), 202, "")
	b.expect("child", b.do("DELETE", "/v2/app/manifests/"+digestOf(image)), 202, "")
}

func TestQ11_ForceDeletesWhatAnIndexNames(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("app", "layer")
	b.pushed("/v2/app/manifests/child", image)
	b.pushed("/v2/app/manifests/list", index(image))
	b.expect("neither true nor false", b.do("DELETE", "/v2/app/manifests/"+digestOf(image)+"?force=maybe"), 400, "UNSUPPORTED")
	b.expect("not forced", b.do("DELETE", "/v2/app/manifests/"+digestOf(image)+"?force=false"), 405, "UNSUPPORTED")
	b.expect("forced", b.do("DELETE", "/v2/app/manifests/"+digestOf(image)+"?force=true"), 202, "")
	b.expect("child", b.do("GET", "/v2/app/manifests/child"), 404, "MANIFEST_UNKNOWN")
	b.expect("index", b.do("GET", "/v2/app/manifests/list"), 200, "")
}

func TestContract_ManifestOverLimit(t *testing.T) {
	b := start(t, tenant.Settings{AllowMissingReferences: true})
	image := func(size int) string {
		head := `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageIndex + `","manifests":[],"annotations":{"a":"`
		tail := `"}}`
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
	b.pushed("/v2/app/manifests/most", image(oci.MaxManifest))
	b.expect("one more", b.put("/v2/app/manifests/more", "", image(oci.MaxManifest+1)), 413, "MANIFEST_INVALID")
	b.expect("refused", b.do("GET", "/v2/app/manifests/more"), 404, "MANIFEST_UNKNOWN")
}

func TestD1_AmbiguousManifests(t *testing.T) {
	b := start(t, tenant.Settings{AllowMissingReferences: true})
	image := b.image("app", "layer")
	config := descriptor("application/vnd.oci.image.config.v1+json", digestOf("c"), 1)
	for _, c := range []struct{ name, contentType, body string }{
		{"layers and manifests", "", `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageManifest + `","config":` + config + `,"layers":[],"manifests":[]}`},
		{"manifests and config", "", `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageIndex + `","manifests":[],"config":` + config + `}`},
		{"Content-Type differs", oci.MediaTypeImageIndex, image},
		{"no type at all", "", `{"schemaVersion":2,"config":` + config + `,"layers":[]}`},
		{"unknown type", "text/html", "{}"},
		{"not JSON", oci.MediaTypeImageManifest, "hello"},
		{"empty", oci.MediaTypeImageManifest, ""},
	} {
		b.expect(c.name, b.put("/v2/app/manifests/x", c.contentType, c.body), 400, "MANIFEST_INVALID")
	}
	b.expect("nothing stored", b.do("GET", "/v2/app/manifests/x"), 404, "MANIFEST_UNKNOWN")

	// The type of the first push stays, whatever a later one says.
	untyped := strings.Replace(image, `"mediaType":"`+oci.MediaTypeImageManifest+`",`, "", 1)
	b.expect("first", b.put("/v2/app/manifests/1", oci.MediaTypeImageManifest, untyped), 201, "")
	b.expect("another type", b.put("/v2/app/manifests/2", oci.MediaTypeDocker, untyped), 400, "MANIFEST_INVALID")
	b.expect("parameters do not count", b.put("/v2/app/manifests/3", oci.MediaTypeImageManifest+"; charset=utf-8", untyped), 201, "")
	if got := b.do("GET", "/v2/app/manifests/1"); got.Header.Get("Content-Type") != oci.MediaTypeImageManifest {
		t.Errorf("type %q", got.Header.Get("Content-Type"))
	}
}

func TestD2_ParserDifferences(t *testing.T) {
	b := start(t, tenant.Settings{AllowMissingReferences: true})
	config := descriptor("application/vnd.oci.image.config.v1+json", digestOf("c"), 1)
	good := `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageManifest + `","config":` + config + `,"layers":[]}`
	b.pushed("/v2/app/manifests/good", good)
	for name, body := range map[string]string{
		"repeated member": strings.Replace(good, `"layers":[]`, `"layers":[],"layers":[`+config+`]`, 1),
		"other case":      strings.Replace(good, `"layers"`, `"Layers"`, 1),
		"invalid UTF-8":   strings.Replace(good, `"layers":[]`, `"layers":[],"annotations":{"a":"`+"\xff"+`"}`, 1),
		"big number":      strings.Replace(good, `"size":1`, `"size":1e99`, 1),
		"negative size":   strings.Replace(good, `"size":1`, `"size":-1`, 1),
		"trailing data":   good + "{}",
		"deep":            strings.Replace(good, `"layers":[]`, `"layers":[],"x":`+strings.Repeat("[", 33)+strings.Repeat("]", 33), 1),
	} {
		b.expect(name, b.put("/v2/app/manifests/bad", "", body), 400, "MANIFEST_INVALID")
	}
}

func TestD3_BytesStayAsTheyWere(t *testing.T) {
	b := start(t, tenant.Settings{AllowMissingReferences: true})
	seed := dice.Seed(t)
	r := rand.New(rand.NewPCG(seed, 3))
	spaces := []string{"", " ", "\n", "\t", "\r\n", "  "}
	for n := range dice.Count(t, 20, 1000) {
		body := index()
		var odd strings.Builder
		quoted := false
		for _, c := range body {
			quoted = quoted != (c == '"')
			odd.WriteRune(c)
			if !quoted && strings.ContainsRune(`{}[]:,"`, c) {
				odd.WriteString(spaces[r.IntN(len(spaces))])
			}
		}
		escaped := strings.Replace(odd.String(), "schemaVersion", `schema\u0056ersion`, n%2)
		digest := b.pushed("/v2/app/manifests/x", escaped)
		for _, ref := range []string{"x", digest} {
			if got := b.do("GET", "/v2/app/manifests/"+ref); got.Body != escaped {
				t.Errorf("seed %d, document %d by %s: %q became %q", seed, n, ref, escaped, got.Body)
			}
		}
	}
}

func TestD5_EncodedManifestBody(t *testing.T) {
	b := start(t, tenant.Settings{})
	for _, coding := range []string{"gzip", "deflate", "identity, gzip"} {
		a := b.do("PUT", "/v2/app/manifests/1", "Content-Encoding", coding)
		b.expect(coding, a, 415, "UNSUPPORTED")
	}
}

func TestD6_UrlsAreNeverFollowed(t *testing.T) {
	b := start(t, tenant.Settings{})
	sink := newSink(t)
	b.PutBlob(b.repo("app"), []byte("{}"))
	foreign := ocitest.New("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []byte("layer"))
	foreign.URLs = []string{"http://" + sink.addr + "/layer"}
	image := string(ocitest.Manifest(ocitest.Empty(), foreign).Bytes)
	b.pushed("/v2/app/manifests/1", image)
	if got := b.do("GET", "/v2/app/manifests/1"); got.Body != image {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	b.expect("the layer itself", b.do("GET", "/v2/app/blobs/"+digestOf("layer")), 404, "BLOB_UNKNOWN")
	if n := sink.connections(); n != 0 {
		t.Errorf("%d connections to the url", n)
	}
}

// TestG4_ManifestOfAnUpstreamsName: what anyone may push does not take the place
// of what an upstream of the chain serves.
func TestG4_ManifestOfAnUpstreamsName(t *testing.T) {
	b := start(t, tenant.Settings{})
	s := meta.DefaultUpstreamSettings
	s.URL = "https://hub.example"
	if _, err := b.Meta.CreateUpstream(t.Context(), fronttest.By(), meta.Upstream{Tenant: b.site.Tenant, Slug: "hub", Settings: s}); err != nil {
		t.Fatal(err)
	}
	b.Group(b.site, "chain", meta.Member{Upstream: "hub", Include: []string{"library/**"}})
	b.site = b.Registry(b.site, "open", tenant.Settings{AnonymousPush: true, UpstreamGroup: "chain"})
	anybody := func(name string) fronttest.Answer {
		return b.Do(fronttest.Request{Method: "PUT", Host: b.site.Host, Path: "/v2/" + name + "/manifests/1", Body: index()})
	}
	a := anybody("library/alpine")
	b.expect("not logged in", a, 403, "DENIED")
	if !strings.Contains(a.Body, "belongs to upstream hub") {
		t.Errorf("the refusal does not say why: %s", a.Body)
	}
	b.expect("another name", anybody("app"), 201, "")
	b.pushed("/v2/library/alpine/manifests/1", index())
	b.expect("a name that is taken", anybody("library/alpine"), 201, "")
}
