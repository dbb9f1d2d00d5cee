package janitor_test

import (
	"os"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
)

// TestP50_AMissingObjectNamesTheRepositoriesOfItsBlob, up to ten.
func TestP50_AMissingObjectNamesTheRepositoriesOfItsBlob(t *testing.T) {
	w := newWorld(t)
	b := w.push("layer")
	w.image("layer")
	other := w.repo
	other.Name = "team/other"
	w.PutBlob(other, []byte("layer"))
	w.must(os.RemoveAll(w.Dir + "/o"))
	var found *meta.Finding
	for _, f := range w.findings() {
		if f.Invariant == "I1" && f.Digest == b.Digest.String() {
			found = &f
		}
	}
	if found == nil {
		t.Fatal("no finding about the layer")
	}
	slices.Sort(found.Repositories)
	want := []string{"tenants/acme/registries/main/repositories/app", "tenants/acme/registries/main/repositories/team/other"}
	if found.Tenant != "acme" || !slices.Equal(found.Repositories, want) || found.Object == "" {
		t.Errorf("%+v, want %q", *found, want)
	}
}

// TestT42_LostCachedBytesAreNoFinding: after a restore they are fetched again.
func TestT42_LostCachedBytesAreNoFinding(t *testing.T) {
	w := newWorld(t)
	cached := w.cached("layer")
	w.push("pushed")
	w.must(w.Blobs.Delete(t.Context(), cached.Key, ""))
	for _, f := range w.findings() {
		if f.Invariant == "I1" {
			t.Errorf("%+v", f)
		}
	}
}
