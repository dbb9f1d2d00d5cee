package cache

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// Manifest is a manifest with its freshness.
type Manifest struct {
	meta.Manifest
	Cached    bool          // served without asking the upstream
	CheckedAt time.Time     // when the upstream confirmed it; zero if hosted, and by digest
	Stale     bool          // past its TTL: the upstream is out
	Age       time.Duration // since CheckedAt
}

// StoredManifest finds a cached manifest, by digest.
func (r *Repository) StoredManifest(ctx context.Context, d oci.Digest) (Manifest, error) {
	m, err := r.caches.Meta.FindManifest(ctx, r.Repo, oci.Reference{Digest: d})
	found := Manifest{Manifest: m, Cached: true}
	if err == nil {
		r.pulled(m.Digest)
		err = r.permits(ctx, found)
	}
	return found, err
}

// Manifest fetches a manifest that is not cached yet, by digest.
func (r *Repository) Manifest(ctx context.Context, d oci.Digest) (Manifest, error) {
	found, err := r.manifest(ctx, d)
	if err == nil {
		err = r.permits(ctx, found)
	}
	return found, err
}

// manifest is Manifest before the rules.
func (r *Repository) manifest(ctx context.Context, d oci.Digest) (Manifest, error) {
	ref := oci.Reference{Digest: d}
	what := manifestKey(d)
	if r.CacheOnly || r.isAbsent(what) {
		return Manifest{}, chain.ErrNotHere
	}
	return acrossNodes(ctx, r, what,
		func(ctx context.Context) (Manifest, error) {
			m, err := r.caches.Meta.FindManifest(ctx, r.Repo, ref)
			if notStored(err) {
				return Manifest{}, errUnknown
			}
			return Manifest{Manifest: m, Cached: true}, chain.Internal(err)
		},
		func(ctx context.Context) (Manifest, error) { return r.fetchManifest(ctx, ref, what) })
}

// Refresh fetches a reference from the upstream now, even if it is cached.
func (r *Repository) Refresh(ctx context.Context, ref oci.Reference) (Manifest, error) {
	if ref.Digest != "" {
		r.forgetAbsence(manifestKey(ref.Digest))
		return r.Manifest(ctx, ref.Digest)
	}
	r.forgetAbsence(tagKey(ref.Tag))
	found, err := r.askTag(ctx, ref.Tag, r.caches.Now())
	if err == nil {
		err = r.permits(ctx, found)
	}
	return found, err
}

// fetchManifest fetches a manifest from the upstream and stores it.
func (r *Repository) fetchManifest(ctx context.Context, ref oci.Reference, what string) (Manifest, error) {
	got, err := r.client.Manifest(ctx, r.Repo.Name, ref)
	if err != nil {
		return Manifest{}, r.noteMissing(ctx, what, ref.Digest, err)
	}
	m := Manifest{
		Manifest:  meta.Manifest{Digest: got.Digest, MediaType: got.MediaType, Payload: got.Payload},
		CheckedAt: r.caches.Now(),
	}
	parsed, err := oci.ParseManifest(got.MediaType, got.Payload)
	if err != nil {
		return Manifest{}, chain.Internal(fmt.Errorf("the client accepted an invalid manifest: %w", err))
	}
	r.forgetAbsence(what)
	r.forgetAbsencesIn(parsed)
	err = r.caches.Meta.PutCached(ctx, meta.CachedPut{Repo: r.Repo, Manifest: m.Manifest, Parsed: parsed, Tag: ref.Tag, Keep: r.Settings.Keep})
	switch {
	case notStored(err): // another cache registry has replaced this one
		r.caches.Replaced()
		err = nil
	case fault.Is(err, fault.QuotaExceeded), fault.KindOf(err) == fault.Full:
		err = nil // serve it uncached: pushes may need the remaining quota, or the disk is full
	}
	return m, chain.Internal(err)
}

// pulled records that a cached manifest was pulled.
func (r *Repository) pulled(d oci.Digest) {
	r.caches.pulls.Add(pullKey{r.Repo, d}, meta.CachedPull{Repo: r.Repo, Digest: d, Keep: r.Settings.Keep})
}
