package sqlitemeta

import (
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// TestW21_LargeManifestsArePurgedInSteps: of so many references that they are removed in
// steps, live and in the trash.
func TestW21_LargeManifestsArePurgedInSteps(t *testing.T) {
	s, r := filled(t, Options{})
	var live, trashed meta.ManifestPut
	var purge meta.DigestPurge
	var blobs []oci.Descriptor
	prepare := func() {
		blobs = holding(t, s, r, removeFrom+removeBatch)
		live, trashed = putOf(r, blobs, "live"), putOf(r, blobs, "trashed")
		purge = meta.DigestPurge{Tenant: r.Tenant, Digest: blobs[0].Digest, Force: true, By: meta.Cause{Op: uuid.New()}}
	}
	holdsTheWriterShortly(t, s, "the purge of two large manifests", prepare, func() {
		mustPut(t, s, live)
		mustPut(t, s, trashed)
		if err := s.DeleteManifest(t.Context(), deleting(trashed)); err != nil {
			t.Error(err)
		}
		state, err := s.PurgeDigest(t.Context(), purge)
		for state.Running && err == nil { // on a slow machine some is left to the janitor
			if _, err = s.PurgeDeleted(t.Context(), 100); err == nil {
				state, err = s.FindPurge(t.Context(), purge.Tenant, purge.Digest)
			}
		}
		if err != nil || state.Present || state.Objects%len(blobs) != 0 {
			t.Errorf("%+v, %v", state, err)
		}
	})
	wantGone(t, s, live)
	if trash, err := s.ListTrash(t.Context(), r, meta.Page{Size: 9}); err != nil || len(trash) != 0 {
		t.Errorf("the trash has %v, %v", trash, err)
	}
}
