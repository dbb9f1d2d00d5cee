package assemble_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

const betaHost = "dev.beta.localhost"

// maxSession is a session of max at a tenant, by the password of the directory.
func (w *world) maxSession(t *testing.T, tenant string) func(method, path, body string) answer {
	t.Helper()
	admin := repository{deployment: deployment{base: "http://" + w.nodes[0].at("admin_addr"), client: http.DefaultClient}}
	login := `{"tenant": "` + tenant + `", "login": "max", "password": "` + secretOfMax + `"}`
	made := admin.send(t, request{method: http.MethodPost, target: "/v1/sessions", body: []byte(login)}).want(t, http.StatusOK)
	cookie, _, _ := strings.Cut(made.header.Get("Set-Cookie"), ";")
	return func(method, path, body string) answer {
		t.Helper()
		return admin.send(t, request{method: method, target: path, body: []byte(body), header: headers("Cookie", cookie)})
	}
}

// giveBeta makes the tenant beta, where the directory's group dev has the rule of the tests, too.
func giveBeta(t *testing.T, w *world) {
	t.Helper()
	for _, call := range []struct {
		path string
		body map[string]any
	}{
		{"/v1/tenants?tenant_id=beta", map[string]any{}},
		{"/v1/tenants/beta/registries?registry_id=dev", map[string]any{}},
		{"/v1/tenants/beta/groups?group_id=dev", map[string]any{"identity_groups": []map[string]any{{"provider": "identityProviders/corp", "group": "dev"}}}},
		{"/v1/tenants/beta/accessRules?access_rule_id=dev-images", map[string]any{
			"effect": "ALLOW", "principals": []string{"groups/dev"}, "registries": []string{"dev"}, "repositories": []string{"foo/img/*"}, "actions": []string{"PULL", "PUSH"},
		}},
	} {
		w.admin(t, http.MethodPost, call.path, call.body).want(t, http.StatusOK)
	}
}

// TestV97_OneTokenLogsInAtEveryTenant of the directory's people, also while the directory is down,
// with the rights of each tenant, until the person ends it at one of them.
func TestV97_OneTokenLogsInAtEveryTenant(t *testing.T) {
	t.Parallel()
	w := startEmbedded(t, rulesSeed)
	slapd := giveDirectory(t, w)
	giveBeta(t, w)
	var made struct{ Name, Secret string }
	w.maxSession(t, "acme")(http.MethodPost, usersPath+"/max/accessTokens", `{"all_tenants": true}`).want(t, http.StatusOK).decode(t, &made)
	docker := func(host, name string) repository {
		r := w.asMax(host, name)
		r.client = &http.Client{Transport: authorized{w.client.Transport, "max", made.Secret}}
		return r
	}
	img := ocitest.NewImage(97, 500)
	var held []repository
	for _, host := range []string{devHost, betaHost} {
		docker(host, "foo/img/a").pushImage(t, img, "1")
		docker(host, "bar/img/a").get(t, "/v2/bar/img/a/manifests/1").want(t, http.StatusNotFound)
		held = append(held, w.withToken(t, docker(host, "foo/img/a")))
	}
	slapd.Pause()
	for i, host := range []string{devHost, betaHost} {
		docker(host, "foo/img/a").wantImage(t, "1", img)
		w.withToken(t, docker(host, "foo/img/a")).wantImage(t, "1", img)
		held[i].wantImage(t, "1", img)
	}
	slapd.Resume()
	events := w.admin(t, http.MethodGet, "/v1/tenants/beta/events", nil).want(t, http.StatusOK)
	if text := string(events.body); strings.Contains(text, "acme") || strings.Contains(text, "accessToken") || !strings.Contains(text, "user.create") {
		t.Errorf("the log of beta: %s", text)
	}

	w.admin(t, http.MethodPatch, "/v1/tenants/beta/users/max", map[string]any{"disabled": true}).want(t, http.StatusOK)
	refused := func(r repository) bool { return r.get(t, r.at("manifests/1")).status == http.StatusUnauthorized }
	await.True(t, 5*time.Second, "beta refuses the person", func() bool { return refused(held[1]) && refused(docker(betaHost, "foo/img/a")) })
	held[0].wantImage(t, "1", img)
	w.admin(t, http.MethodPatch, "/v1/tenants/beta/users/max", map[string]any{"disabled": false}).want(t, http.StatusOK)
	held[1] = w.withToken(t, docker(betaHost, "foo/img/a"))
	held[1].wantImage(t, "1", img)

	name := made.Name[strings.LastIndex(made.Name, "/"):]
	w.maxSession(t, "beta")(http.MethodDelete, "/v1/tenants/beta/users/max/accessTokens"+name, "").want(t, http.StatusOK)
	await.True(t, 5*time.Second, "the token is gone at all tenants", func() bool {
		return refused(held[0]) && refused(held[1]) && refused(docker(devHost, "foo/img/a")) && refused(docker(betaHost, "foo/img/a"))
	})
	w.stop(t)
	w.wantSound(t)
}
