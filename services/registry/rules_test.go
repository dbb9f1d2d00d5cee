package registry_test

import (
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// TestT66_NoPushAdoptsWhatARuleRefuses pushes an index of an image that the upstream's
// rules refuse to serve from its cache.
func TestT66_NoPushAdoptsWhatARuleRefuses(t *testing.T) {
	f := newFamily(t, tenant.Settings{})
	image := f.stores(f.cache, "config", "layer")
	digest := oci.DigestOf(oci.SHA256, []byte(image))
	change := func(change func(*meta.UpstreamSettings)) {
		t.Helper()
		u, err := f.Meta.FindUpstream(t.Context(), f.cache.Tenant, "ghcr")
		if err == nil {
			change(&u.Settings)
			_, err = f.Meta.UpdateUpstream(t.Context(), fronttest.By(), u, false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	change(func(s *meta.UpstreamSettings) { s.MinAge = s.Keep })
	f.expect("too new", f.put("/v2/app/manifests/1", "", index(image)), 403, "DENIED")
	change(func(s *meta.UpstreamSettings) { s.MinAge, s.Platforms = 0, []string{"linux/*"} })
	f.expect("without a platform", f.put("/v2/app/manifests/1", "", index(image)), 403, "DENIED")
	change(func(s *meta.UpstreamSettings) { s.ApprovedDigests = []oci.Digest{digest} })
	f.expect("approved", f.put("/v2/app/manifests/1", "", index(image)), 201, "")
}
