package registry_test

import (
	"testing"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// TestT69_NoPushAdoptsUnsigned pushes indexes of images that are cached, with a signature
// and without.
func TestT69_NoPushAdoptsUnsigned(t *testing.T) {
	f := newFamily(t, tenant.Settings{})
	key := cosigntest.New(cosigntest.P256)
	u, err := f.Meta.FindUpstream(t.Context(), f.cache.Tenant, "ghcr")
	if err == nil {
		u.Settings.Signatures = []meta.SignatureRule{{Repositories: []string{"library/*"}, Keys: []string{key.PEM()}}}
		_, err = f.Meta.UpdateUpstream(t.Context(), fronttest.By(), u, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	unsigned, signed := f.stores(f.cache, "config", "layer"), f.stores(f.cache, "config", "another")
	payload := cosigntest.Payload("", oci.DigestOf(oci.SHA256, []byte(signed)))
	signature, config := cosigntest.Simple(key.Layer(payload))
	f.fill(string(config.Bytes))
	f.fill(string(payload))
	parsed, err := oci.ParseManifest("", signature.Bytes)
	if err == nil {
		err = f.Meta.PutCached(t.Context(), meta.CachedPut{
			Repo: f.cache, Parsed: parsed, Keep: u.Settings.Keep, Tag: cosign.Tag(oci.DigestOf(oci.SHA256, []byte(signed))),
			Manifest: meta.Manifest{Digest: signature.Digest, MediaType: signature.MediaType, Payload: signature.Bytes},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	f.expect("unsigned", f.put("/v2/app/manifests/1", "", index(unsigned)), 403, "DENIED")
	f.expect("signed", f.put("/v2/app/manifests/2", "", index(signed)), 201, "")
	outer := string(ocitest.Index(signature).Bytes)
	f.expect("the signature", f.put("/v2/app/manifests/3", "", outer), 201, "")
}
