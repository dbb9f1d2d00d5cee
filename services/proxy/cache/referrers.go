package cache

import (
	"context"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/upstream"
)

// maxReferrers bounds the referrers of a subject, as maxTags does.
const maxReferrers = 1000

// Referrers are all referrers of a subject at the upstream. If the upstream does not
// respond, or refuses, they are its last list, or those whose manifests are cached
// (contract row T11).
func (r *Repository) Referrers(ctx context.Context, subject oci.Digest) ([]meta.Referrer, Freshness, error) {
	if r.CacheOnly {
		rows, err := r.cachedReferrers(ctx, subject)
		return rows, Freshness{Stale: true, Incomplete: true}, chain.Internal(err)
	}
	l, fresh, err := r.listOf(ctx, referrersKey(subject), func(ctx context.Context) (list, error) { return r.askReferrers(ctx, subject) })
	switch chain.OutcomeOf(err) {
	case chain.Found:
		return l.referrers, fresh, nil
	case chain.NotHere:
		return nil, Freshness{}, nil // an unknown subject has no referrers
	}
	rows, failed := r.cachedReferrers(ctx, subject)
	switch {
	case failed != nil:
		return nil, Freshness{}, chain.Internal(failed)
	case len(rows) > 0 && r.Settings.StaleIfError > 0:
		return rows, Freshness{Stale: true, Incomplete: true}, nil
	case chain.OutcomeOf(err) == chain.Denied:
		err = r.refusedReferrers(ctx, subject, err)
	}
	return nil, Freshness{}, err
}

func (r *Repository) askReferrers(ctx context.Context, subject oci.Digest) (list, error) {
	found, err := r.client.Referrers(ctx, r.Repo.Name, subject, maxReferrers)
	rows := make([]meta.Referrer, len(found))
	for i, f := range found {
		rows[i] = meta.Referrer{Digest: f.Digest, MediaType: f.MediaType, Size: f.Size, ArtifactType: f.ArtifactType, Annotations: f.Annotations}
	}
	return list{referrers: rows}, err
}

// referrerBytes bounds the manifests of the cached referrers that are listed: their
// annotations are held in memory.
const referrerBytes = 32 << 20

// cachedReferrers are the referrers whose manifests are cached, as many as the bounds
// allow.
func (r *Repository) cachedReferrers(ctx context.Context, subject oci.Digest) ([]meta.Referrer, error) {
	var all []meta.Referrer
	size := int64(0)
	page := meta.Page{Size: maxReferrers}
	for page.Size > 0 && size < referrerBytes {
		rows, err := r.caches.Meta.ListReferrers(ctx, r.Repo, subject, "", page)
		if err != nil && !notStored(err) {
			return nil, err
		}
		if len(rows) == 0 {
			break
		}
		all = append(all, rows...)
		for _, row := range rows {
			size += row.Size
		}
		page = meta.Page{After: rows[len(rows)-1].Digest.String(), Size: maxReferrers - len(all)}
	}
	return all, nil
}

// refusedReferrers turns a refused list into an outage if the upstream serves the subject:
// an empty list would make an image look unsigned (contract row T7). If the upstream
// refuses both, err stays a denial.
func (r *Repository) refusedReferrers(ctx context.Context, subject oci.Digest, err error) error {
	_, missing := r.StoredManifest(ctx, subject)
	if notStored(missing) {
		_, missing = r.Manifest(ctx, subject)
	}
	switch {
	case chain.OutcomeOf(missing) == chain.Outage:
		return missing // whether it serves the subject is unknown
	case missing != nil:
		return err
	}
	return upstream.Withheld(err, "refuses to list what refers to a manifest that it has, such as signatures")
}
