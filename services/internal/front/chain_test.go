package front_test

import (
	"net/http"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// TestG1_NoWayToTheProxyServiceGoesRoundTheRule has a registry service that hands
// everything on, in one process with the proxy service and in another.
func TestG1_NoWayToTheProxyServiceGoesRoundTheRule(t *testing.T) {
	proxy := says("proxy")
	other := listenInternal(t, deploymentKey, &journal{}, front.Services{Registry: says("wrong"), Upload: says("wrong"), Token: says("wrong"), Proxy: proxy})
	for shape, registry := range map[string]http.Handler{
		"one process":   front.BeforeProxy(proxy),
		"two processes": remoteProxy(t, other.URL),
	} {
		d := fronttest.New(t)
		site := d.Tenant("acme", tenant.Settings{AnonymousPull: true})
		reader, writer := d.Account(site, "reader", access.Reader), d.Account(site, "writer", access.Writer)
		d.Serve(front.Services{Registry: registry, Proxy: proxy})
		token := func(p access.Principal, a access.Actions) fronttest.Request {
			return fronttest.Request{Bearer: d.Token(site, p, access.Repository("app", a))}
		}
		const pull, both = access.Pull, access.Pull | access.Push
		for _, c := range []struct {
			name           string
			req            fronttest.Request
			manifest, blob int // of HEAD
		}{
			{"no credential", fronttest.Request{}, 401, 401},
			{"anonymous token for a pull", token(access.Principal{}, pull), 200, 200},
			{"anonymous token for a push", token(access.Principal{}, both), 401, 401},
			{"reader's password", fronttest.Request{Basic: "reader"}, 200, 200},
			{"reader's token for a pull", token(reader, pull), 200, 200},
			{"reader's token for a push", token(reader, both), 404, 404},
			{"writer's password", fronttest.Request{Basic: "writer"}, 404, 404},
			{"writer's token for a pull", token(writer, pull), 200, 404},
			{"writer's token for a push", token(writer, both), 404, 404},
		} {
			for path, want := range map[string]int{
				"/v2/app/manifests/1":                            c.manifest,
				"/v2/app/manifests/" + digest:                    c.manifest,
				"/v2/app/manifests/1?ns=acme.localhost":          c.manifest, // the registry itself
				"/v2/app/blobs/" + digest:                        c.blob,
				"/v2/app/tags/list":                              200,
				"/v2/app/referrers/" + digest:                    200,
				"/v2/app/blobs/" + digest + "?ns=docker.io":      200, // no push is possible there
				"/v2/proxy/docker.io/app/manifests/1":            200,
				"/v2/proxy/docker.io/app/blobs/" + digest + "?x": 200,
			} {
				for _, method := range []string{http.MethodHead, http.MethodGet} {
					if method == http.MethodGet {
						want = http.StatusOK
					}
					r := c.req
					r.Method, r.Host, r.Path = method, site.Host, path
					if got := d.Do(r); got.Status != want {
						t.Errorf("%s: %s: %s %s: %d %s, want %d", shape, c.name, method, path, got.Status, got.Body, want)
					}
				}
			}
		}
	}
}
