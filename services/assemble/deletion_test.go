package assemble_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/boot"
)

// An hour is long enough to take a deletion back, whatever the machine does.
func restorable(c *boot.Config) {
	shortLived(c)
	c.UndeleteWindow = time.Hour
}

func TestL11_DeletedAndTakenBack_Embedded(t *testing.T) {
	deletedAndTakenBack(t, startEmbedded(t, "", restorable))
}

func TestL11_DeletedAndTakenBack_OnServers(t *testing.T) {
	deletedAndTakenBack(t, startOnServers(t, "", "", restorable))
}

func deletedAndTakenBack(t *testing.T, w *world) {
	acme := w.customer(t, "acme")
	devHost := "dev." + acme.host()
	w.admin(t, http.MethodPost, acme.path("/domains?domain_id=registry.acme.example"), map[string]any{"registry": "dev"}).want(t, http.StatusOK)
	app := acme.repository("writer", "team/app")
	image := app.push(t, app.image(t, nil), "v1")
	dev := acme.in(devHost, "writer", "team/app")
	devImage := dev.push(t, dev.image(t, nil), "v1")

	// pulls says whether the image can be pulled from a host, as a fresh client does it.
	pulls := func(host, account string) bool {
		r := acme.in(host, account, "team/app")
		return r.get(t, r.at("manifests/v1")).status == http.StatusOK
	}
	refusedAt := func(host string) {
		t.Helper()
		nobody := acme.in(host, "", "team/app") // logins that fail would be counted
		soon(t, host+" to be refused", func() bool { return nobody.get(t, nobody.at("manifests/v1")).status == http.StatusNotFound })
	}
	tokenOf := func(host string) *http.Client {
		t.Helper()
		var token struct{ Token string }
		r := acme.in(host, "writer", "team/app")
		r.get(t, "/token?scope=repository:team/app:pull").want(t, http.StatusOK).decode(t, &token)
		return &http.Client{Transport: bearing{w.client.Transport, token.Token}}
	}

	// A registry: refused, forced, refused at its hosts, taken back.
	old := acme.in(devHost, "", "team/app")
	old.client = tokenOf(devHost)
	w.admin(t, http.MethodDelete, acme.path("/registries/dev"), nil).want(t, http.StatusBadRequest)
	if !pulls(devHost, "writer") {
		t.Error("a refused deletion took the registry")
	}
	w.admin(t, http.MethodDelete, acme.path("/registries/dev?force=true"), nil).want(t, http.StatusOK)
	refusedAt(devHost)
	refusedAt("registry.acme.example")
	w.collect(t)
	w.admin(t, http.MethodPost, acme.path("/registries/dev:undelete"), nothing).want(t, http.StatusOK)
	soon(t, "the registry to be back", func() bool { return pulls("registry.acme.example", "writer") })
	acme.in(devHost, "writer", "team/app").wantManifest(t, "v1", devImage)
	old.client = &http.Client{Transport: bearing{w.client.Transport, old.client.Transport.(bearing).token}}
	old.base = w.registry(devHost)
	old.get(t, old.at("manifests/v1")).want(t, http.StatusUnauthorized) // a token from before

	// The tenant: the same.
	w.admin(t, http.MethodDelete, acme.path(""), nil).want(t, http.StatusBadRequest)
	w.admin(t, http.MethodDelete, acme.path("?force=true"), nil).want(t, http.StatusOK)
	for _, host := range []string{acme.host(), devHost, "registry.acme.example"} {
		refusedAt(host)
	}
	w.collect(t)
	w.admin(t, http.MethodPost, acme.path(":undelete"), nothing).want(t, http.StatusOK)
	soon(t, "the tenant to be back", func() bool { return pulls(acme.host(), "writer") })
	acme.repository("reader", "team/app").wantManifest(t, "v1", image)
	acme.in("registry.acme.example", "reader", "team/app").wantManifest(t, "v1", devImage)
	app = acme.repository("writer", "team/app")
	app.push(t, app.image(t, nil), "v2")
	before := w.collect(t).Stored
	acme.repository("reader", "team/app").wantManifest(t, "v1", image)

	// Where it can be taken back for a moment only, it goes; its events stay.
	w.nodes[0].stop(t)
	shortLived(&w.nodes[0].config)
	w.restart(t)
	w.admin(t, http.MethodDelete, acme.path("?force=true"), nil).want(t, http.StatusOK)
	refusedAt(acme.host())
	// Three images of two blobs. What pushes left in S3 waits its ten minutes.
	if left := w.collect(t).Stored; left > before-6 {
		t.Errorf("%d objects are stored, %d before", left, before)
	}
	w.admin(t, http.MethodPost, acme.path(":undelete"), nothing).want(t, http.StatusNotFound)
	var log struct{ Events []struct{ Verb string } }
	w.admin(t, http.MethodGet, acme.path("/events?page_size=1000"), nil).want(t, http.StatusOK).decode(t, &log)
	var verbs []string
	for _, e := range log.Events {
		if strings.HasPrefix(e.Verb, "tenant.") || strings.HasPrefix(e.Verb, "registry.") {
			verbs = append(verbs, e.Verb)
		}
	}
	want := []string{"tenant.delete", "tenant.undelete", "tenant.delete", "registry.undelete", "registry.delete", "registry.create", "tenant.create"}
	if !slices.Equal(verbs, want) {
		t.Errorf("events %v", verbs)
	}
	w.stop(t)
}
