package assemble_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestW19_DeletedAndRestored_Embedded(t *testing.T) {
	t.Parallel()
	deletedAndRestored(t, startEmbedded(t, ""))
}

func TestW19_DeletedAndRestored_OnServers(t *testing.T) {
	t.Parallel()
	deletedAndRestored(t, startOnServers(t, "", ""))
}

// deletedAndRestored deletes what was pushed, as clients of a registry do, and restores it by
// the admin API, while the janitor works.
func deletedAndRestored(t *testing.T, w *world) {
	acme := w.customer(t, "acme")
	host := "dev." + acme.host()
	w.admin(t, http.MethodPatch, acme.path("/registries/dev"), map[string]any{"delete_referrers": true}).want(t, http.StatusOK)
	r := acme.in(host, "admin", "team/app")
	images := []manifest{r.push(t, r.image(t, nil)), r.push(t, r.image(t, nil))}
	m := r.push(t, index(t, nil, images...), "v1", "latest")
	sbom := r.push(t, r.referring(t, m, "application/vnd.example.sbom", nil))
	call := func(call string, body map[string]any, want int) answer {
		t.Helper()
		return w.admin(t, http.MethodPost, acme.path("/registries/dev/repositories/team/app:"+call), body).want(t, want)
	}
	deleted := func() []string {
		t.Helper()
		var list struct {
			DeletedManifests []struct{ Digest, Actor string } `json:"deleted_manifests"`
		}
		w.admin(t, http.MethodGet, acme.path("/registries/dev/repositories/team/app:listDeletedManifests"), nil).want(t, http.StatusOK).decode(t, &list)
		var digests []string
		for _, one := range list.DeletedManifests {
			if one.Actor != "serviceAccounts/admin" {
				t.Errorf("%s was deleted by %s", one.Digest, one.Actor)
			}
			digests = append(digests, one.Digest)
		}
		return digests
	}
	all := []string{m.Digest.String(), sbom.Digest.String()}
	for _, one := range append([]manifest{m}, images...) {
		r.remove(t, r.at("manifests/%s", one.Digest)).want(t, http.StatusAccepted)
	}
	for _, one := range images {
		all = append(all, one.Digest.String())
	}
	slices.Sort(all)
	if got := deleted(); !slices.Equal(got, all) {
		t.Errorf("deleted are %q, want %q", got, all)
	}
	for _, reference := range []string{"v1", "latest", m.Digest.String(), images[0].Digest.String(), sbom.Digest.String()} {
		r.wantNoManifest(t, reference)
	}
	w.collect(t)
	call("undeleteManifest", map[string]any{"digest": m.Digest}, http.StatusOK)
	w.collect(t)
	whole := func(tags ...string) {
		t.Helper()
		reader := acme.in(host, "reader", "team/app")
		for _, tag := range tags {
			reader.wantManifest(t, tag, m)
		}
		for _, one := range append([]manifest{m, sbom}, images...) {
			reader.wantManifest(t, one.Digest.String(), one)
		}
		for _, one := range append([]manifest{sbom}, images...) {
			for _, d := range one.blobs(t) {
				reader.get(t, reader.at("blobs/%s", d)).want(t, http.StatusOK)
			}
		}
		reader.wantReferrers(t, reader.at("referrers/%s", m.Digest), sbom)
		if got := deleted(); len(got) != 0 {
			t.Errorf("in the trash are %q", got)
		}
	}
	whole("v1", "latest")

	// A tag that was moved goes back, and brings what was deleted since.
	r = acme.in(host, "admin", "team/app") // the collection restarted the node
	other := r.push(t, r.image(t, nil), "v1")
	r.remove(t, r.at("manifests/%s", m.Digest)).want(t, http.StatusAccepted)
	w.collect(t)
	call("undeleteManifest", map[string]any{"digest": fmt.Sprint(other.Digest)}, http.StatusNotFound)
	var back struct{ Digest string }
	call("undeleteTag", map[string]any{"tag": "v1"}, http.StatusOK).decode(t, &back)
	if back.Digest != m.Digest.String() {
		t.Errorf("v1 is %s, want %s", back.Digest, m.Digest)
	}
	acme.in(host, "admin", "team/app").wantNoManifest(t, "latest")
	call("undeleteTag", map[string]any{"tag": "latest"}, http.StatusOK)
	w.collect(t)
	whole("v1", "latest")
	w.stop(t)
	w.wantSound(t)
}

// blobs are those that an image holds.
func (m manifest) blobs(t *testing.T) []string {
	t.Helper()
	var doc imagespec.Manifest
	if err := json.Unmarshal(m.payload, &doc); err != nil {
		t.Fatal(err)
	}
	digests := []string{doc.Config.Digest.String()}
	for _, l := range doc.Layers {
		digests = append(digests, l.Digest.String())
	}
	return digests
}
