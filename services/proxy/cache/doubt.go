package cache

import (
	"context"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/upstream"
)

// noteMissing remembers the absence if err is the upstream's "not here". Tags that lead
// to the content d are doubted then: an upstream that no longer has a part of an image
// has most likely moved its tag (contract row T10). The next pull of such a tag asks the
// upstream, which settles the doubt; so the requests for one missing part cause at most
// one request for each tag. d is empty for a tag. It returns err, or an internal failure.
func (r *Repository) noteMissing(ctx context.Context, what string, d oci.Digest, err error) error {
	if upstream.OutcomeOf(err) != upstream.NotHere || d == "" {
		r.noteAbsence(what, err)
		return err
	}
	_, failed := singleFlight(ctx, r, "doubt "+d.String(), func(ctx context.Context) (struct{}, error) {
		if r.isAbsent(what) {
			return struct{}{}, nil // a request at the same time was first
		}
		_, failed := r.caches.Meta.FindNaming(ctx, r.Repo, d)
		if failed == nil {
			failed = r.caches.Meta.DoubtCachedTags(ctx, r.Repo, d)
		}
		if failed != nil && !notStored(failed) {
			return struct{}{}, chain.Internal(failed)
		}
		r.noteAbsence(what, err)
		return struct{}{}, nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// forgetAbsencesIn forgets that parts of a manifest were missing: the upstream has just
// sent the manifest, and may have got them since.
func (r *Repository) forgetAbsencesIn(m *oci.Manifest) {
	for _, c := range m.Children {
		r.forgetAbsence(manifestKey(c.Digest))
	}
	for _, b := range m.Blobs {
		r.forgetAbsence(blobKey(b.Digest))
		r.forgetAbsence(statKey(b.Digest))
	}
}
