package registry_test

import (
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// TestS77_AnybodysPushAdoptsNothingOfACredential pushes manifests that name what is
// kept of an upstream with a credential.
func TestS77_AnybodysPushAdoptsNothingOfACredential(t *testing.T) {
	f := newFamily(t, tenant.Settings{AnonymousPull: true, AnonymousPush: true})
	u, err := f.Meta.FindUpstream(t.Context(), f.cache.Tenant, "ghcr")
	no := false
	if err == nil {
		u.Settings.Username, u.Settings.Password, u.Settings.ServeAnonymous = "bob", []byte("secret"), &no
		u.Settings.Exclude = []string{"library/other"} // else no one might push it
		_, err = f.Meta.UpdateUpstream(t.Context(), fronttest.By(), u, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	image := f.stores(f.cache, "config", "layer")
	// A name that is claimed already may be pushed to without a login.
	f.PutManifest(fronttest.Repo(f.site, "app"), ocitest.Index().Bytes, "first")
	for what, manifest := range map[string]string{"the image": image, "an index of it": index(image)} {
		a := f.Do(fronttest.Request{Method: "PUT", Host: f.site.Host, Path: "/v2/app/manifests/taken", Body: manifest})
		f.expect(what, a, 404, "MANIFEST_BLOB_UNKNOWN")
	}
	for _, content := range []string{"config", "layer"} {
		if _, err := f.Meta.FindBlob(t.Context(), fronttest.Repo(f.site, "app"), oci.DigestOf(oci.SHA256, []byte(content))); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s was adopted: %v", content, err)
		}
	}
	f.expect("by an account", f.put("/v2/app/manifests/taken", "", image), 201, "")
}
