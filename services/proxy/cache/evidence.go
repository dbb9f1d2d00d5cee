package cache

import (
	"context"
	"io"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/policy"
)

// evidence is what rules read of a repository besides the manifest that they decide about,
// from the cache or the upstream. It is not checked by rules. No stale answer counts: an
// outage must not make an image look unsigned; nor does a denial.
type evidence struct {
	*Repository
	stored policy.Stored
}

// FindManifest implements policy.Content. A tag is asked for again after life, at most
// negative_ttl, since an image is often signed just after it was pushed.
func (e evidence) FindManifest(ctx context.Context, _ meta.Repo, ref oci.Reference) (meta.Manifest, error) {
	var m Manifest
	var err error
	if ref.Digest != "" {
		m, err = e.findManifest(ctx, ref.Digest)
	} else {
		m, err = e.findTag(ctx, ref.Tag)
	}
	return m.Manifest, upstream.Withheld(err, "refuses a signature of a manifest that it has")
}

func (e evidence) findManifest(ctx context.Context, d oci.Digest) (Manifest, error) {
	m, err := e.caches.Meta.FindManifest(ctx, e.Repo, oci.Reference{Digest: d})
	if notStored(err) {
		return e.manifest(ctx, d)
	}
	return Manifest{Manifest: m}, chain.Internal(err)
}

func (e evidence) findTag(ctx context.Context, tag string) (Manifest, error) {
	what := tagKey(tag)
	if e.isAbsent(what) {
		return Manifest{}, chain.ErrNotHere
	}
	since := e.caches.Now().Add(-e.life())
	return acrossNodes(ctx, e.Repository, "signature "+what,
		func(ctx context.Context) (Manifest, error) { return e.tagSince(ctx, tag, since) },
		func(ctx context.Context) (Manifest, error) { return e.fetchTag(ctx, tag) })
}

// life is how long what the upstream said of signatures counts.
func (e evidence) life() time.Duration { return min(e.Settings.NegativeTTL, e.Settings.TagTTL) }

// OpenBlob implements policy.Content.
func (e evidence) OpenBlob(ctx context.Context, r meta.Repo, d oci.Descriptor) (io.ReadCloser, error) {
	content, err := e.stored.OpenBlob(ctx, r, d)
	if !policy.IsAbsent(err) {
		return content, err
	}
	opened, err := e.Blob(ctx, d.Digest, d.Size)
	return opened.Content, upstream.Withheld(err, "refuses a part of a manifest that it has")
}

// ListReferrers implements policy.Content.
func (e evidence) ListReferrers(ctx context.Context, _ meta.Repo, subject oci.Digest) ([]meta.Referrer, error) {
	what := referrersKey(subject)
	known := e.caches.lists
	if before, ok := known.find(e.key(what)); ok && e.caches.Now().Sub(before.said) < e.life() {
		return before.referrers, nil
	}
	now, err := singleFlight(ctx, e.Repository, what, func(ctx context.Context) (list, error) { return e.askReferrers(ctx, subject) })
	if err != nil {
		return nil, upstream.Withheld(err, "refuses to list what refers to a manifest that it has, such as signatures")
	}
	now.said = e.caches.Now()
	known.put(e.key(what), now)
	return now.referrers, nil
}

// storedEvidence is evidence where the upstream must not be asked. What is not stored is
// unknown: it must not make an image look unsigned, also to other callers, for whom verdicts
// are remembered.
type storedEvidence struct {
	policy.Stored
	upstream string // slug
}

// FindManifest implements policy.Content. A digest that is not stored is absent: what names
// it is unknown where that matters.
func (e storedEvidence) FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error) {
	m, err := e.Stored.FindManifest(ctx, r, ref)
	if ref.Digest == "" && policy.IsAbsent(err) {
		err = e.unknown()
	}
	return m, err
}

// OpenBlob implements policy.Content.
func (e storedEvidence) OpenBlob(ctx context.Context, r meta.Repo, d oci.Descriptor) (io.ReadCloser, error) {
	content, err := e.Stored.OpenBlob(ctx, r, d)
	if policy.IsAbsent(err) {
		err = e.unknown()
	}
	return content, err
}

// ListReferrers implements policy.Content. The upstream may have more.
func (e storedEvidence) ListReferrers(ctx context.Context, r meta.Repo, subject oci.Digest) ([]meta.Referrer, error) {
	rows, err := e.Stored.ListReferrers(ctx, r, subject)
	if err == nil || policy.IsAbsent(err) {
		err = e.unknown()
	}
	return rows, err
}

func (e storedEvidence) unknown() error {
	return chain.Internal(fault.New(fault.Unavailable, fault.UnavailableReason,
		"upstream %q is not asked for what accompanies images, since this host serves only what is cached", e.upstream))
}
