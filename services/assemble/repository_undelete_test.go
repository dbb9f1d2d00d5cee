package assemble_test

import (
	"net/http"
	"testing"
)

func TestW43_ARepositoryComesBack_Embedded(t *testing.T) {
	repositoryComesBack(t, startEmbedded(t, "", restorable))
}

func TestW43_ARepositoryComesBack_OnServers(t *testing.T) {
	repositoryComesBack(t, startOnServers(t, "", "", restorable))
}

// repositoryComesBack pushes an image, deletes its repository and pulls it again.
func repositoryComesBack(t *testing.T, w *world) {
	acme := w.customer(t, "acme")
	app := acme.repository("writer", "team/app")
	image := app.push(t, app.image(t, nil), "v1")
	path := acme.path("/registries/main/repositories/team/app")
	list := func() []string {
		t.Helper()
		var found struct {
			Repositories []struct{ State string }
		}
		w.admin(t, http.MethodGet, acme.path("/registries/main/repositories?show_deleted=true"), nil).want(t, http.StatusOK).decode(t, &found)
		var states []string
		for _, r := range found.Repositories {
			states = append(states, r.State)
		}
		return states
	}
	w.admin(t, http.MethodDelete, path, nil).want(t, http.StatusOK)
	app.get(t, app.at("manifests/v1")).want(t, http.StatusNotFound)
	w.collect(t)
	if states := list(); len(states) != 1 || states[0] != "DELETED" {
		t.Errorf("listed %q", states)
	}
	w.admin(t, http.MethodPost, path+":undelete", nothing).want(t, http.StatusOK)
	app = acme.repository("writer", "team/app") // the collection began the node again
	app.wantManifest(t, "v1", image)

	// Another one has the name.
	w.admin(t, http.MethodDelete, path, nil).want(t, http.StatusOK)
	second := app.push(t, app.image(t, nil), "v2")
	w.admin(t, http.MethodPost, path+":undelete", nothing).want(t, http.StatusConflict)
	w.admin(t, http.MethodPost, path+":undelete", map[string]any{"restore_as": "team/old"}).want(t, http.StatusOK)
	acme.repository("reader", "team/old").wantManifest(t, "v1", image)
	acme.repository("reader", "team/app").wantManifest(t, "v2", second)
	w.collect(t)
	acme.repository("reader", "team/old").wantManifest(t, "v1", image)
	w.stop(t)
}
