package cache

import (
	"context"
	"errors"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/policy"
)

// Tag finds the manifest of a tag: fresh from the cache, else from the upstream,
// or, if the upstream does not respond, the last one.
func (r *Repository) Tag(ctx context.Context, tag string) (Manifest, error) {
	m, err := r.freshTag(ctx, tag)
	switch {
	case errors.Is(err, errUnknown) && r.CacheOnly:
		m, err = r.keptTag(ctx, tag)
	case errors.Is(err, errUnknown):
		m, err = r.revalidateInTime(ctx, tag)
	}
	if err == nil {
		err = r.permits(ctx, m)
	}
	result := Miss
	switch {
	case m.Stale:
		result = Stale
	case m.Cached:
		result = Hit
	}
	return m, r.CountAnswer("manifest", result, err)
}

// keptTag is what the tag was last, however long ago.
func (r *Repository) keptTag(ctx context.Context, tag string) (Manifest, error) {
	c, err := r.caches.Meta.FindCachedTag(ctx, r.Repo, tag)
	switch {
	case notStored(err), err == nil && c.Doubted:
		return Manifest{}, chain.ErrNotHere
	case err != nil:
		return Manifest{}, chain.Internal(err)
	default:
		return r.lastOf(c), nil
	}
}

// revalidateTimeout is how long a pull of a cached tag waits for the upstream, so
// that an outage does not slow down each pull. The request to the upstream
// continues.
const revalidateTimeout = 5 * time.Second

func (r *Repository) revalidateInTime(ctx context.Context, tag string) (Manifest, error) {
	waiting, cancel := context.WithTimeout(ctx, revalidateTimeout)
	defer cancel()
	m, err := r.askTag(waiting, tag, time.Time{})
	if err == nil || waiting.Err() == nil || ctx.Err() != nil {
		return m, err
	}
	if kept, missing := r.caches.Meta.FindCachedTag(ctx, r.Repo, tag); missing == nil {
		if m, err := r.stale(tag, kept, err); err == nil {
			return m, nil
		}
	}
	return r.askTag(ctx, tag, time.Time{})
}

// freshTag returns errUnknown if the upstream must be asked. While little is left of the
// upstream's budget, tags are served for longer, as stale ones (contract row T61).
func (r *Repository) freshTag(ctx context.Context, tag string) (Manifest, error) {
	c, err := r.caches.Meta.FindCachedTag(ctx, r.Repo, tag)
	age, life := r.caches.Now().Sub(c.CheckedAt), policy.TagLife(&r.Settings, tag)
	switch {
	case err == nil && !c.Doubted && age < life:
		r.pulled(c.Manifest.Digest)
		return Manifest{Manifest: c.Manifest, Cached: true, CheckedAt: c.CheckedAt}, nil
	case err == nil && !c.Doubted && age/time.Duration(r.client.TagStretch()) < life:
		return r.stale(tag, c, errUnknown)
	case err == nil && r.Settings.KeepGone && r.isAbsent(tagKey(tag)):
		return r.lastOf(c), nil
	case err != nil && !notStored(err):
		return Manifest{}, chain.Internal(err)
	case err != nil && r.isAbsent(tagKey(tag)):
		return Manifest{}, chain.ErrNotHere
	}
	return Manifest{}, errUnknown
}

// askTag asks the upstream, unless another process has just done so. With since,
// only responses after that time count.
func (r *Repository) askTag(ctx context.Context, tag string, since time.Time) (Manifest, error) {
	cached := func(ctx context.Context) (Manifest, error) { return r.freshTag(ctx, tag) }
	if !since.IsZero() {
		cached = func(ctx context.Context) (Manifest, error) { return r.tagSince(ctx, tag, since) }
	}
	return acrossNodes(ctx, r, tagKey(tag), cached,
		func(ctx context.Context) (Manifest, error) { return r.revalidate(ctx, tag) })
}

// tagSince is freshTag, limited to responses of the upstream after since.
func (r *Repository) tagSince(ctx context.Context, tag string, since time.Time) (Manifest, error) {
	c, err := r.caches.Meta.FindCachedTag(ctx, r.Repo, tag)
	switch {
	case err == nil && !c.CheckedAt.Before(since):
		return Manifest{Manifest: c.Manifest, CheckedAt: c.CheckedAt}, nil
	case err != nil && !notStored(err):
		return Manifest{}, chain.Internal(err)
	}
	return Manifest{}, errUnknown
}

// revalidate asks the upstream for the tag: by HEAD if a manifest is cached, else
// by GET at once, since an intermediate cache fetches only on GET. Where a HEAD may save
// a GET of a limited number, it is asked first for each tag.
func (r *Repository) revalidate(ctx context.Context, tag string) (Manifest, error) {
	r.proveByTag(ctx, tag)
	kept, err := r.caches.Meta.FindCachedTag(ctx, r.Repo, tag)
	switch {
	case notStored(err) && r.client.HeadFirst():
		if head, err := r.client.HeadManifest(ctx, r.Repo.Name, tag); err == nil {
			return r.pointTag(ctx, tag, head.Digest)
		}
		return r.fetchTag(ctx, tag)
	case notStored(err):
		return r.fetchTag(ctx, tag)
	case err != nil:
		return Manifest{}, chain.Internal(err)
	}
	m, err := r.confirm(ctx, tag, kept)
	switch outcome := chain.OutcomeOf(err); {
	case outcome == chain.Found:
		return m, nil
	case outcome == chain.NotHere && r.Settings.KeepGone:
		return r.lastOf(kept), nil
	case outcome == chain.NotHere:
		if dropped := r.caches.Meta.DropCachedTag(ctx, r.Repo, tag); dropped != nil {
			return m, chain.Internal(dropped)
		}
		return m, err
	default:
		return r.stale(tag, kept, err)
	}
}

// confirm asks whether the tag is unchanged, and fetches it if not.
func (r *Repository) confirm(ctx context.Context, tag string, kept meta.CachedTag) (Manifest, error) {
	head, err := r.client.HeadManifest(ctx, r.Repo.Name, tag)
	switch {
	case upstream.OutcomeOf(err) == upstream.NotHere:
		return r.fetchTag(ctx, tag) // a 404 of a HEAD alone does not count (E16)
	case err != nil:
		return Manifest{}, err
	case r.Settings.MinAge > 0 && head.Digest != kept.Manifest.Digest:
		young, err := r.isYoung(ctx, head.Digest)
		if err != nil {
			return Manifest{}, err
		}
		if young {
			return r.pointTag(ctx, tag, kept.Manifest.Digest)
		}
	}
	return r.pointTag(ctx, tag, head.Digest)
}

// pointTag points the tag to the manifest that the upstream says it has. If that is not
// cached, it fetches the tag.
func (r *Repository) pointTag(ctx context.Context, tag string, d oci.Digest) (Manifest, error) {
	now := r.caches.Now()
	m, err := r.caches.Meta.FindManifest(ctx, r.Repo, oci.Reference{Digest: d})
	if err == nil {
		err = r.caches.Meta.ConfirmCachedTag(ctx, r.Repo, tag, d)
	}
	if notStored(err) {
		return r.fetchTag(ctx, tag)
	}
	if fault.KindOf(err) == fault.Full {
		err = nil // it was confirmed, and is again at the next pull
	}
	r.pulled(d)
	return Manifest{Manifest: m, CheckedAt: now}, chain.Internal(err)
}

func (r *Repository) fetchTag(ctx context.Context, tag string) (Manifest, error) {
	return r.fetchManifest(ctx, oci.Reference{Tag: tag}, tagKey(tag))
}

// deniedLimit is how long a tag is served at most after its upstream began to deny
// access: long enough for an upstream's mistake, too short for revoked access
// (contract row E16).
const deniedLimit = time.Hour

// staleLimit is how much longer than its TTL something is served after err.
func (r *Repository) staleLimit(err error) time.Duration {
	if chain.OutcomeOf(err) == chain.Denied {
		return min(r.Settings.StaleIfError, deniedLimit)
	}
	return r.Settings.StaleIfError
}

// stale returns the last manifest if the upstream's settings allow that and it is
// not too old; else err.
func (r *Repository) stale(tag string, kept meta.CachedTag, err error) (Manifest, error) {
	limit := r.staleLimit(err)
	age, life := r.caches.Now().Sub(kept.CheckedAt), policy.TagLife(&r.Settings, tag)
	if limit <= 0 || age-limit > life {
		return Manifest{}, err
	}
	return r.lastOf(kept), nil
}

// lastOf is what the tag was last, as a stale manifest.
func (r *Repository) lastOf(kept meta.CachedTag) Manifest {
	r.pulled(kept.Manifest.Digest)
	age := r.caches.Now().Sub(kept.CheckedAt)
	return Manifest{Manifest: kept.Manifest, Cached: true, CheckedAt: kept.CheckedAt, Stale: true, Age: age}
}
