package proxy_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestT60_BothNamesAtOnce asks as containerd does a mirror with a path: ns besides it,
// in all spellings of the upstream. All share one cache.
func TestT60_BothNamesAtOnce(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	host := strings.TrimPrefix(up.URL(), "http://")
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) {
		s.HostAliases = []string{"docker.io", "[2001:db8::1]:5000", "internal"}
	})
	w.upstream("ghcr", "https://ghcr.io", nil)
	w.chain(meta.Member{Upstream: "hub"}, meta.Member{Upstream: "ghcr"})
	w.wantPull("proxy/docker.io/", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	w.get("/v2/proxy/docker.io/" + testserver.ScriptedName + "/tags/list")
	w.get("/v2/proxy/docker.io/" + testserver.ScriptedName + "/referrers/" + up.Image.Index.Digest.String())
	up.Forget()

	const tagList = 3 // its size differs with the name that was asked for
	parts := []string{
		"/manifests/" + testserver.ScriptedTag, "/manifests/" + up.Image.Index.Digest.String(),
		"/blobs/" + up.Image.Config.Digest.String(), "/tags/list", "/referrers/" + up.Image.Index.Digest.String(),
	}
	ask := func(method, prefix, ns, header string) []fronttest.Answer {
		var answers []fronttest.Answer
		for _, part := range parts {
			path := "/v2/" + prefix + testserver.ScriptedName + part
			if ns != "" {
				path += "?ns=" + url.QueryEscape(ns)
			}
			r := fronttest.Request{Method: method, Host: w.dev.Host, Path: path}
			if header != "" {
				r.Header = fronttest.Headers("OCI-Namespace", header)
			}
			answers = append(answers, w.Do(r))
		}
		return answers
	}
	plain := ask(http.MethodGet, "proxy/docker.io/", "", "")
	for _, prefix := range []string{"proxy/docker.io/", "proxy/index.docker.io/", "proxy/registry-1.docker.io/", "proxy/hub/", "proxy/internal/", ""} {
		for _, ns := range []string{"docker.io", "DOCKER.io", "index.docker.io", "registry-1.docker.io:443", "[2001:DB8:0::1]:5000", host, "internal"} {
			for _, way := range [][2]string{{ns, ""}, {"", ns}, {ns, ns}} {
				for i, a := range ask(http.MethodGet, prefix, way[0], way[1]) {
					if a.Status != http.StatusOK || strings.Replace(a.Body, `"name":"`+prefix, `"name":"proxy/docker.io/`, 1) != plain[i].Body || a.Header.Get("OCI-Namespace") == "" {
						t.Errorf("%q%s with %q: %d %.200s", prefix, parts[i], way, a.Status, a.Body)
					}
				}
				for i, a := range ask(http.MethodHead, prefix, way[0], way[1]) {
					if a.Status != http.StatusOK || i != tagList && a.Header.Get("Content-Length") != plain[i].Header.Get("Content-Length") {
						t.Errorf("HEAD %q%s with %q: %d", prefix, parts[i], way, a.Status)
					}
				}
				for i, a := range ask(http.MethodPut, prefix, way[0], way[1]) {
					if a.Status != http.StatusForbidden {
						t.Errorf("PUT %q%s with %q: %d", prefix, parts[i], way, a.Status)
					}
				}
			}
		}
	}
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("the upstream was asked %d times for what is cached: %v", n, up.Requests())
	}
}

// TestT60_NamesThatDiffer: content of one registry is never served under the name of
// another. That is refused alike whether the other is an upstream or not.
func TestT60_NamesThatDiffer(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.HostAliases = []string{"docker.io"} })
	w.upstream("ghcr", "https://ghcr.io", nil)
	w.chain(meta.Member{Upstream: "hub"}, meta.Member{Upstream: "ghcr"})
	for _, ns := range []string{"ghcr.io", "ghcr", "quay.io", "docker.io:5000", "[::1]:5000"} {
		for _, part := range []string{"manifests/" + testserver.ScriptedTag, "blobs/" + up.Image.Config.Digest.String(), "tags/list", "referrers/" + up.Image.Index.Digest.String()} {
			path := "/v2/proxy/docker.io/" + testserver.ScriptedName + "/" + part
			for _, r := range []fronttest.Request{{Path: path + "?ns=" + ns}, {Path: path, Header: fronttest.Headers("OCI-Namespace", ns)}} {
				r.Host = w.dev.Host
				if a := w.Do(r); a.Status != http.StatusBadRequest || !strings.Contains(a.Body, "host_aliases") {
					t.Errorf("%s %v: %d %s", r.Path, r.Header, a.Status, a.Body)
				}
			}
		}
	}
	// The registry itself is no other name.
	own := "/v2/proxy/docker.io/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag + "?ns=" + w.dev.Host
	if a := w.get(own); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
