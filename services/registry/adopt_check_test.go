package registry_test

import (
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// TestT42_LostBytesAreNotAdopted: the metadata was restored to a moment when evicted
// content was still cached.
func TestT42_LostBytesAreNotAdopted(t *testing.T) {
	f := newFamily(t, tenant.Settings{})
	image := f.stores(f.cache, "config", "layer")
	b, err := f.Meta.FindBlob(t.Context(), f.cache, oci.DigestOf(oci.SHA256, []byte("layer")))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Blobs.Delete(t.Context(), b.Key, ""); err != nil {
		t.Fatal(err)
	}
	f.lacks("with lost bytes", image, digestOf("layer"))
	f.fill("layer") // it is fetched again
	f.pushed("/v2/app/manifests/1", image)
	f.alone([]string{image}, []string{"config", "layer"})
	never, err := f.Meta.FindNeverHosted(t.Context(), f.site.Tenant, []oci.Digest{b.Digest})
	if err != nil || len(never) > 0 {
		t.Errorf("an adopted blob counts as never hosted: %v, %v", never, err)
	}
	var found []meta.Finding
	if err := f.Meta.CheckRows(t.Context(), func(one meta.Finding) { found = append(found, one) }); err != nil || len(found) > 0 {
		t.Error(found, err)
	}
}
