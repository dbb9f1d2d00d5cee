package assemble_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// longest is a name of so many characters that begins with the repository's.
func (r repository) longest(size int) string {
	name := r.name
	for len(name) < size-100 {
		name += "/" + strings.Repeat("a", 99)
	}
	return name + "/" + strings.Repeat("b", size-len(name)-1)
}

var apiRequirements = []requirement{
	{"Determining Support", must, "GET v2 is 200", func(t *testing.T, r repository) {
		for _, path := range []string{"/v2/", "/v2"} {
			r.get(t, path).want(t, http.StatusOK).wantHeader(t, "Docker-Distribution-Api-Version", "registry/2.0")
			r.head(t, path).want(t, http.StatusOK).wantBody(t, nil)
		}
	}},
	{"Determining Support", ours, "GET v2 without a credential, or with an empty one, is 401 with a challenge in every registry", func(t *testing.T, r repository) {
		for _, r := range []repository{r.asNobody(), r.asNobody().inSparse(), r.asNobody().inChained()} {
			for _, header := range [][]string{nil, {"Authorization", "Basic Og=="}} {
				a := r.get(t, "/v2/", header...).want(t, http.StatusUnauthorized).wantCode(t, "UNAUTHORIZED")
				if h := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(h, `Bearer realm="http`) || !strings.Contains(h, `/token",service="`) {
					t.Errorf("%s: got WWW-Authenticate %q", a.what, h)
				}
			}
			r.get(t, "/token", "Authorization", "Basic Og==").want(t, http.StatusOK)
			r.get(t, "/v2/", "Authorization", "Basic OnNlY3JldA==").want(t, http.StatusUnauthorized)
			r.get(t, "/token", "Authorization", "Basic OnNlY3JldA==").want(t, http.StatusUnauthorized)
		}
	}},
	{"Pulling manifests", must, "names: every form of the grammar, up to 255 characters", func(t *testing.T, r repository) {
		for _, suffix := range []string{
			"a", "0", "a/b/c/d/e/f/g/h", "a.b", "a_b", "a__b", "a-b", "a---b", "a.b_c__d-e--f/0.0",
			"manifests", "blobs/uploads", "tags/list", "referrers/x", "_catalog"[1:], "v2",
		} {
			r := r.sibling(suffix)
			r.wantManifest(t, "latest", r.push(t, r.image(t, nil), "latest"))
			got, a := r.tags(t, "")
			wantList(t, a, got, []string{"latest"})
		}
		for _, size := range []int{254, 255} {
			r := repository{r.deployment, r.longest(size)}
			content := random(t, 100)
			location := r.patch(t, r.start(t, "").location(t), 0, content).want(t, http.StatusAccepted).location(t)
			r.wantStored(t, r.finish(t, location, describe("", content).Digest, nil), content)
			r.wantManifest(t, "latest", r.push(t, r.image(t, nil), strings.Repeat("t", 128), "latest"))
		}
	}},
	{"Pulling manifests", must, "names: what is outside of the grammar is refused on every endpoint", func(t *testing.T, r repository) {
		for _, bad := range []string{
			"UPPER", "-a", "a-", ".a", "a.", "_a", "a_", "a..b", "a___b", "a._b", "a%20b", "a%2Fb", "a//b", "/a", "a/", "a:b", "a@b", "ä", "a+b", "a~b",
		} {
			name := r.name + "/" + bad
			for _, path := range []string{"manifests/latest", "blobs/" + absent.String(), "tags/list", "referrers/" + absent.String()} {
				r.get(t, "/v2/"+name+"/"+path).want(t, http.StatusBadRequest, http.StatusNotFound).wantCode(t, "NAME_INVALID", "DIGEST_INVALID")
			}
			r.send(t, request{method: http.MethodPost, target: "/v2/" + name + "/blobs/uploads/"}).want(t, http.StatusBadRequest, http.StatusNotFound)
			r.send(t, request{
				method: http.MethodPut, target: "/v2/" + name + "/manifests/latest", header: headers("Content-Type", typeIndex), body: index(t, nil).payload,
			}).want(t, http.StatusBadRequest, http.StatusNotFound)
		}
		tooLong := r.longest(256)
		r.send(t, request{method: http.MethodPost, target: "/v2/" + tooLong + "/blobs/uploads/"}).want(t, http.StatusBadRequest).wantCode(t, "NAME_INVALID")
	}},
	{"API", should, "a method that an endpoint does not have is 405 with Allow (RFC 9110)", func(t *testing.T, r repository) {
		r.push(t, r.image(t, nil), "latest")
		for path, method := range map[string]string{
			"/v2/":                          http.MethodPost,
			"/v2/_catalog":                  http.MethodDelete,
			r.at("manifests/latest"):        http.MethodPost,
			r.at("blobs/%s", absent):        http.MethodPut,
			r.at("tags/list"):               http.MethodPost,
			r.at("referrers/%s", absent):    http.MethodDelete,
			r.at("blobs/uploads/"):          http.MethodPut,
			r.at("blobs/uploads/%s", "x-x"): http.MethodPost,
		} {
			a := r.send(t, request{method: method, target: path}).want(t, http.StatusMethodNotAllowed, http.StatusNotFound)
			if a.status == http.StatusMethodNotAllowed {
				a.wantCode(t, "UNSUPPORTED")
				if a.header.Get("Allow") == "" {
					t.Errorf("%s: 405 without Allow", a.what)
				}
			}
		}
	}},
	{"API", should, "a path that is not an endpoint is 404", func(t *testing.T, r repository) {
		for _, path := range []string{"/", "/v1/", "/v2/x", "/v2/x/y", r.at("manifests/"), r.at("tags/other"), r.at("unknown/latest"), r.at("blobs/"), "/metrics", "/healthz", "/debug/pprof/"} {
			r.get(t, path).want(t, http.StatusNotFound, http.StatusBadRequest)
		}
	}},
	{"Error Codes", must, "a refusal in JSON has the form of the spec, one to HEAD no body", func(t *testing.T, r repository) {
		for path, status := range map[string]int{
			r.at("manifests/latest"):             http.StatusNotFound,
			r.at("blobs/%s", absent):             http.StatusNotFound,
			r.at("blobs/sha256:x"):               http.StatusBadRequest,
			r.at("tags/list"):                    http.StatusNotFound,
			r.at("tags/list?n=x"):                http.StatusBadRequest,
			"/v2/" + r.name + "/UP/tags/list":    http.StatusBadRequest,
			r.at("referrers/%s?n=x", absent):     http.StatusBadRequest,
			fmt.Sprintf("/v2/_catalog?n=%s", ""): http.StatusBadRequest,
		} {
			r.get(t, path).want(t, status).wantHeader(t, "Content-Type", "application/json").wantCode(t,
				"BLOB_UNKNOWN", "DIGEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "UNSUPPORTED")
			r.head(t, path).want(t, status).wantBody(t, nil)
		}
	}},
	{"API", ours, "a page of another site is told nothing and changes nothing", func(t *testing.T, r repository) {
		r.push(t, r.image(t, nil), "latest")
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPost, http.MethodOptions} {
			a := r.send(t, request{
				method: method, target: r.at("manifests/latest"),
				header: headers("Origin", "https://ui.example.com", "Access-Control-Request-Method", "DELETE", "Access-Control-Request-Private-Network", "true"),
			}).want(t, http.StatusForbidden).wantCode(t, "DENIED")
			a.wantNoHeader(t, "Access-Control-Allow-Origin").wantNoHeader(t, "Access-Control-Allow-Methods").wantNoHeader(t, "Access-Control-Allow-Private-Network")
		}
		r.get(t, r.at("manifests/latest")).want(t, http.StatusOK).wantHeader(t, "Cross-Origin-Resource-Policy", "same-origin")
	}},
}
