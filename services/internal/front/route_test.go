package front_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// says is a service that answers its name.
func says(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(name)) })
}

var named = front.Services{Registry: says("registry"), Upload: says("upload"), Token: says("token"), Proxy: says("proxy")}

const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestRoutes(t *testing.T) {
	d := openDeployment(t)
	d.Serve(named)
	for path, want := range map[string]string{
		"/v2/":                              "401 UNAUTHORIZED",
		"/v2":                               "401 UNAUTHORIZED",
		"/token":                            "token",
		"/token?service=x&scope=y":          "token",
		"/v2/_catalog":                      "registry",
		"/v2/a/b/manifests/v1":              "registry",
		"/v2/a/blobs/" + digest:             "registry",
		"/v2/a/tags/list":                   "registry",
		"/v2/a/referrers/" + digest:         "registry",
		"/v2/proxy/docker.io/a/manifests/1": "proxy",
		"/v2/a/tags/list?ns=docker.io":      "proxy",
		"/v2/a/blobs/uploads/":              "upload",
		"/v2/a/blobs/uploads":               "upload",
		"/v2/blobs/uploads/blobs/uploads":   "upload",
		"/v2/a/blobs/uploads/6ba7b810-9dad-11d1-80b4-00c04fd430c8": "upload",
		"/":                     "404 NAME_UNKNOWN",
		"/token/":               "404 NAME_UNKNOWN",
		"/v1/tenants":           "404 NAME_UNKNOWN",
		"/metrics":              "404 NAME_UNKNOWN",
		"/v2/a":                 "404 NAME_UNKNOWN",
		"//v2/":                 "404 NAME_UNKNOWN",
		"/v2/%2e%2e/":           "404 NAME_UNKNOWN",
		"/v2/A/tags/list":       "400 NAME_INVALID",
		"/v2/a/blobs/sha256:12": "400 DIGEST_INVALID",
		"/v2/a/manifests/.x":    "404 MANIFEST_UNKNOWN",
		"/v2/_catalog?" + strings.Repeat("a=b&", 200): "400 UNSUPPORTED",
		"/v2/_catalog?" + strings.Repeat("a", 9000):   "400 UNSUPPORTED",
		"/v2/_catalog?n=%zz":                          "400 UNSUPPORTED",
	} {
		got := d.Do(fronttest.Request{Host: "acme.localhost", Path: path})
		if s := got.Body; got.Status == 200 && s != want || got.Status != 200 && summary(got) != want {
			t.Errorf("%.60s: %d %s, want %s", path, got.Status, s, want)
		}
		if got.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%.60s: no nosniff", path)
		}
	}
	if got := summary(d.Do(fronttest.Request{Method: "PUT", Host: "acme.localhost", Path: "/v2/a/manifests/.x"})); got != "400 MANIFEST_INVALID" {
		t.Errorf("a push to a malformed tag: %s", got)
	}
}

// Whatever a client sends, the fault is its own: no answer of the front is a
// 5xx, none is a panic.
func FuzzRequest(f *testing.F) {
	d := fronttest.New(f)
	d.Tenant("acme", tenant.Settings{AnonymousPull: true})
	h := d.Handler(named)
	f.Add("GET", "/v2/", "acme.localhost", "")
	f.Add("PUT", "/v2/a/manifests/x?tag=1&tag=2", "acme.localhost:5000", "Basic YTpi")
	f.Add("OPTIONS", "*", "acme.localhost", "Bearer a.b.c")
	f.Add("GET", "http://acme.localhost/v2/", "[::1]", "Bearer")
	f.Add("DELETE", "/v2/%2e%2e/blobs/sha256:00", "ACME.localhost.", "basic")
	f.Add("GET", "/v2/proxy/docker.io/a/manifests/x?ns=localhost:5000", "acme.localhost", "")
	f.Add("POST", "/v2/proxy/a/blobs/uploads/?ns=acme.localhost&ns=", "acme.localhost", "")
	f.Fuzz(func(t *testing.T, method, target, host, authorization string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.RequestURI, r.Host = method, target, host
		u, err := r.URL.Parse(target)
		if err != nil {
			return // net/http answers these
		}
		r.URL = u
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
