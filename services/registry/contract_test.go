package registry_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// everyRoute is each operation on a repository and what it needs.
func everyRoute(repo, digest string) []struct{ method, path string } {
	return []struct{ method, path string }{
		{"GET", "/v2/" + repo + "/manifests/1"},
		{"HEAD", "/v2/" + repo + "/manifests/1"},
		{"GET", "/v2/" + repo + "/manifests/" + digest},
		{"PUT", "/v2/" + repo + "/manifests/1"},
		{"DELETE", "/v2/" + repo + "/manifests/1"},
		{"DELETE", "/v2/" + repo + "/manifests/" + digest},
		{"GET", "/v2/" + repo + "/blobs/" + digest},
		{"HEAD", "/v2/" + repo + "/blobs/" + digest},
		{"DELETE", "/v2/" + repo + "/blobs/" + digest},
		{"GET", "/v2/" + repo + "/tags/list"},
		{"GET", "/v2/" + repo + "/referrers/" + digest},
	}
}

// renamed makes the answers about two repositories comparable: their names are
// in the challenge's scope.
func renamed(a fronttest.Answer, repo string) fronttest.Answer {
	a.Header = a.Header.Clone()
	if h := a.Header.Get("WWW-Authenticate"); h != "" {
		a.Header.Set("WWW-Authenticate", strings.Replace(h, "repository:"+repo+":", "repository:NAME:", 1))
	}
	return a
}

func TestContract_PrivateAndMissingAreTheSame(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("private", "layer")
	b.pushed("/v2/private/manifests/1", image)
	stranger := b.Token(b.site, access.Principal{Name: "serviceAccounts/x", Tenant: b.site.Tenant},
		access.Repository("private", access.All), access.Repository("missing", access.All))
	nobody := b.Token(b.site, access.Principal{},
		access.Repository("private", access.All), access.Repository("missing", access.All))

	for _, who := range []struct {
		name, bearer string
		status       int
		code         string
	}{
		{"anonymous", "", 401, "UNAUTHORIZED"},
		{"with an anonymous token", nobody, 401, "UNAUTHORIZED"},
		{"authenticated without pull", stranger, 404, "NAME_UNKNOWN"},
	} {
		for _, digest := range []string{digestOf(image), digestOf("layer"), digestOf("nothing")} {
			private, missing := everyRoute("private", digest), everyRoute("missing", digest)
			for i := range private {
				ask := func(path string) fronttest.Answer {
					return b.Do(fronttest.Request{Method: private[i].method, Host: b.site.Host, Path: path, Bearer: who.bearer})
				}
				a, m := ask(private[i].path), ask(missing[i].path)
				what := who.name + " " + private[i].method + " " + private[i].path
				b.Same(what, renamed(a, "private"), renamed(m, "missing"))
				if a.Status != who.status || private[i].method != "HEAD" && a.Code() != who.code {
					t.Errorf("%s: %d %s", what, a.Status, a.Body)
				}
			}
		}
	}
}

func TestContract_RightsWithoutPushOrDelete(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("app", "layer")
	b.pushed("/v2/app/manifests/1", image)
	b.Account(b.site, "reader", access.Reader)
	for _, r := range everyRoute("app", digestOf(image)) {
		got := b.Do(fronttest.Request{Method: r.method, Host: b.site.Host, Path: r.path, Basic: "reader"})
		if writes := r.method == "PUT" || r.method == "DELETE"; writes && (got.Status != 403 || got.Code() != "DENIED") || !writes && got.Status == 403 {
			t.Errorf("%s %s: %d %s", r.method, r.path, got.Status, got.Body)
		}
	}
	b.expect("nothing was changed", b.do("GET", "/v2/app/manifests/1"), 200, "")
}

func TestC1_BlobsOfAnotherTenant(t *testing.T) {
	b := start(t, tenant.Settings{AnonymousPull: true})
	other := b.Tenant("other", tenant.Settings{})
	image := b.image("app", "secret layer")
	b.pushed("/v2/app/manifests/1", image)
	b.Account(other, "spy", access.Admin)
	// The spy has a repository of the same name, so that its answer does not
	// rest on the repository being unknown.
	acme := b.site
	b.site = other
	b.PutBlob(b.repo("app"), []byte("own layer"))
	b.site = acme

	never := digestOf("never pushed anywhere")
	for _, digest := range []string{digestOf(image), digestOf("secret layer")} {
		held, absent := everyRoute("app", digest), everyRoute("app", never)
		for i := range held {
			ask := func(path string) fronttest.Answer {
				return b.Do(fronttest.Request{Method: held[i].method, Host: other.Host, Path: path, Basic: "spy"})
			}
			a, n := ask(held[i].path), ask(absent[i].path)
			n.Body = strings.ReplaceAll(n.Body, never, digest)
			b.Same(held[i].method+" "+held[i].path, a, n)
		}
	}
	b.expect("and acme still has it", b.do("GET", "/v2/app/blobs/"+digestOf("secret layer")), 200, "")
}

func TestA10_EveryRouteRefusesMalformedDigests(t *testing.T) {
	b := start(t, tenant.Settings{})
	hex := strings.Repeat("0", 64)
	for _, digest := range []string{
		"sha256:", "sha256:..", "sha256:..%2F..", "sha256:" + strings.ToUpper(strings.Repeat("a", 64)), "sha256:" + hex[:63], "sha256:" + hex + "0",
		"SHA256:" + hex, "sha256%3A" + hex[:10], "md5:" + hex[:32], "sha1:" + hex[:40], "sha512:" + hex, "sha256+b64:" + hex, "sha384:" + hex + hex[:32],
		"sha256:" + hex[:63] + "g", "sha256:" + hex[:62] + "%00", ":" + hex, "sha256::" + hex, "blake3:" + hex, "sha256:" + hex[:63] + "%20",
	} {
		for _, r := range everyRoute("app", digest) {
			if !strings.Contains(r.path, digest) {
				continue
			}
			got := b.do(r.method, r.path)
			if got.Status != 400 || r.method != "HEAD" && got.Code() != "DIGEST_INVALID" {
				t.Errorf("%s %s: %d %s", r.method, r.path, got.Status, got.Body)
			}
		}
	}
}

func TestA9_TraversalInNames(t *testing.T) {
	b := start(t, tenant.Settings{})
	for _, name := range []string{
		"..", "../..", "a/../b", "%2e%2e", "%2e%2e/%2e%2e", "a%2Fb", "..%2F..", "a%2F..%2F..%2Fetc", `a\b`, "a%5Cb", "a%00b", "%c0%ae%c0%ae", "a//b", "/a", "a/",
		"A", "a.", "-a", "a_-b", strings.Repeat("a", 256), strings.Repeat("a/", 200) + "a", "%61", "a%20b", "ü",
	} {
		for _, suffix := range []string{"/tags/list", "/manifests/1", "/blobs/" + digestOf("x")} {
			got := b.do("GET", "/v2/"+name+suffix)
			if got.Status != http.StatusBadRequest && got.Status != http.StatusNotFound || got.Code() != "NAME_INVALID" && got.Code() != "NAME_UNKNOWN" {
				t.Errorf("%.60s%s: %d %s", name, suffix, got.Status, got.Body)
			}
		}
	}
	for _, tag := range []string{"..", ".", "%2e%2e", "..%2F..", "a%2Fb", `a\b`, "a%00", "-x", strings.Repeat("a", 129), "a+b", "a%3Ab"} {
		got := b.do("GET", "/v2/app/manifests/"+tag)
		if got.Status != http.StatusBadRequest && got.Status != http.StatusNotFound || got.Status >= 500 {
			t.Errorf("tag %.40s: %d %s", tag, got.Status, got.Body)
		}
	}
	long := strings.Repeat("a", 255)
	b.pushed("/v2/"+long+"/manifests/1", b.image(long, "layer"))
	b.expect("255 characters are a name", b.do("GET", "/v2/"+long+"/manifests/1"), 200, "")
}

func TestContract_DependencyDownIsNeverAbsence(t *testing.T) {
	b := start(t, tenant.Settings{AnonymousPull: true})
	image := b.image("app", "layer")
	b.pushed("/v2/app/manifests/1", image)
	token := b.Token(b.site, access.ServiceAccount(b.site.Tenant, 0, "admin", access.Admin),
		access.Repository("app", access.All), access.Catalog)
	if err := b.Meta.Close(); err != nil {
		t.Fatal(err)
	}
	routes := append(everyRoute("app", digestOf(image)), struct{ method, path string }{"GET", "/v2/_catalog"})
	ask := func(what string, requests ...fronttest.Request) {
		t.Helper()
		for _, req := range requests {
			got := b.Do(req)
			if got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
				t.Errorf("%s: %s %s: %d %s", what, req.Method, req.Path, got.Status, got.Body)
			}
		}
	}
	for _, r := range routes {
		req := fronttest.Request{Method: r.method, Host: b.site.Host, Path: r.path, Bearer: token}
		if r.method == "PUT" {
			req.Body = image
		}
		ask("with a token", req)
		req.Bearer, req.Basic = "", "admin"
		ask("with a name and secret", req)
	}
	b.Sites.Clear()
	ask("at a host no one remembers", fronttest.Request{Host: b.site.Host, Path: "/v2/"}, fronttest.Request{Host: "nobody.localhost", Path: "/v2/"})
}
