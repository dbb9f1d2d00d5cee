package assemble_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
)

// paths of what a port of another kind has, or a careless program.
var strangePaths = []string{
	"/", "/metrics", "/healthz", "/readyz", "/debug", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/openapi.json",
	"/v1/tenants", "/v1/tenants/uploads/usage", "/berth.admin.v1.AdminService/ListTenants",
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
	"/grpc.health.v1.Health/Check", "/_internal", "/server-status",
}

// registryPaths are of the data port.
var registryPaths = []string{"/v2/", "/v2/_catalog", "/v2/app/tags/list", "/v2/app/manifests/latest", "/v2/app/blobs/uploads/", "/token", "/token/jwks"}

// TestF5_EachListenerServesItsOwn scans all listeners of a process that runs
// some of the services, without a credential and with those of a client.
func TestF5_EachListenerServesItsOwn(t *testing.T) {
	w := startSplit(t, uploadsSeed, "")
	type listener struct {
		node    *node
		setting string
	}
	var all []listener
	for _, n := range []*node{w.only(boot.RegistryService)[0], w.only(boot.UploadService)[0], w.only(boot.AdminService)[0], w.only(boot.JanitorService)[0]} {
		for setting := range n.addrs {
			all = append(all, listener{n, setting})
		}
	}
	refused := map[string][]int{ // what a listener answers to what is not its own
		"data_addr":     {http.StatusNotFound},
		"ops_addr":      {http.StatusNotFound},
		"admin_addr":    {http.StatusUnauthorized},
		"internal_addr": {http.StatusForbidden},
	}
	open := map[string][]string{ // what it serves to everybody
		"data_addr":  nil,
		"ops_addr":   {"/metrics", "/healthz", "/readyz"},
		"admin_addr": {"/openapi.json"},
	}
	for _, l := range all {
		if l.setting == "admin_grpc_addr" {
			continue // speaks HTTP/2 only
		}
		paths := strangePaths
		if l.setting != "data_addr" {
			paths = slices.Concat(strangePaths, registryPaths)
		}
		for _, account := range []string{"", "suite"} {
			r := repository{deployment: deployment{base: "http://" + uploadsHost, client: clientOf(t, l.node.at(l.setting))}}
			if account != "" {
				r.client = &http.Client{Transport: authorized{r.client.Transport, account, accountSecret}}
			}
			for _, path := range paths {
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					a := r.send(t, request{method: method, target: path})
					if slices.Contains(open[l.setting], path) {
						if method == http.MethodGet {
							a.want(t, http.StatusOK)
						}
						continue
					}
					if !slices.Contains(refused[l.setting], a.status) {
						t.Errorf("%s of %v as %q: %s: %d", l.setting, l.node.config.Services, account, a.what, a.status)
					}
					if strings.Contains(string(a.body), "go_goroutines") || strings.Contains(string(a.body), "usage") {
						t.Errorf("%s: %s: %s", l.setting, a.what, clip(string(a.body)))
					}
				}
			}
		}
	}
	w.stop(t)
}
