package promotion_test

import (
	"context"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/promotion"
)

// newPromoted is an image in dev, and two registries.
func newPromoted(t *testing.T) (*raced, racedImage) {
	t.Helper()
	s, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r, img := &raced{t: t, store: s}, newRacedImage(0, 2)
	r.setUp()
	r.push(img)
	return r, img
}

// TestW156_WhatMayBeMissingIsTaken where the registry that it goes to lets references miss:
// all that the source has is there, and the rest refuses nothing.
func TestW156_WhatMayBeMissingIsTaken(t *testing.T) {
	t.Parallel()
	r, img := newPromoted(t)
	ctx := t.Context()
	config, layer, never := ocitest.Config([]byte(`{"half": 1}`)), ocitest.Layer([]byte("half")), ocitest.Layer([]byte("never pushed"))
	half := ocitest.Manifest(config, layer, never)
	lacking := racedImage{all: []ocitest.Content{half}, blobs: map[oci.Digest][]ocitest.Content{half.Digest: {config, layer}}}
	index := ocitest.Index(img.all[0], half, ocitest.Index(never))
	lacking.index = index
	lacking.all = append(lacking.all, index)
	r.allowMissing = true
	r.push(lacking)
	for _, one := range []racedImage{img, lacking} {
		request := r.request(one)
		request.Tag = "stable"
		if one.index.Digest == index.Digest {
			_, err := promotion.New(r.store, nil, nil).Promote(ctx, request)
			if !fault.Is(err, fault.NotPromotable) {
				t.Fatalf("%v", err)
			}
		}
		request.AllowMissingReferences = true
		if _, err := promotion.New(r.store, nil, nil).Promote(ctx, request); err != nil {
			t.Fatal(err)
		}
		for _, m := range one.all {
			if _, err := r.store.FindManifest(ctx, r.prod, oci.Reference{Digest: m.Digest}); err != nil {
				t.Error(err)
			}
			want := digestsOf(one.blobs[m.Digest])
			if held, err := r.store.FindHeld(ctx, []meta.Repo{r.prod}, want); err != nil || len(held) != len(want) {
				t.Errorf("%s holds %v, %v", m.Digest, held, err)
			}
		}
	}
	r.must(r.store.CheckRows(ctx, func(f meta.Finding) { t.Errorf("%s: %s", f.Invariant, f.Detail) }))
}

// without is a store that no longer has one manifest, but still lists it.
type without struct {
	meta.Store
	gone oci.Digest
}

func (w without) FindAdoptable(ctx context.Context, from []meta.Repo, d oci.Digest) (meta.Manifest, error) {
	if d == w.gone {
		return meta.Manifest{}, fault.New(fault.NotFound, fault.ManifestUnknown, "it is gone")
	}
	return w.Store.FindAdoptable(ctx, from, d)
}

// TestW164_AReferrerThatIsGoneMeetsNoGate, since it is not promoted.
func TestW164_AReferrerThatIsGoneMeetsNoGate(t *testing.T) {
	t.Parallel()
	r, img := newPromoted(t)
	const sbom = "application/spdx+json"
	_, err := r.store.CreatePromotionGate(t.Context(), cause(), meta.PromotionGate{Tenant: r.prod.Tenant, Slug: "listed", ArtifactTypes: []string{sbom}})
	r.must(err)
	referrers, err := r.store.ListReferrers(t.Context(), r.dev, img.index.Digest, sbom, meta.Page{Size: 9})
	if err != nil || len(referrers) != 1 {
		t.Fatalf("%v, %v", referrers, err)
	}
	request := r.request(img)
	request.By.ValidateOnly = true
	for _, row := range []struct {
		store promotion.Meta
		unmet []string
	}{{r.store, nil}, {without{r.store, referrers[0].Digest}, []string{"gate listed: the image needs a referrer of the artifact type " + sbom}}} {
		result, err := promotion.New(row.store, nil, nil).Promote(t.Context(), request)
		if err != nil || !slices.Equal(result.Unmet, row.unmet) {
			t.Errorf("%q, %v", result.Unmet, err)
		}
	}
}
