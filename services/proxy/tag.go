package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/upstream"
)

// tag answers what the upstream says of a tag: what it said a while ago, what it
// says now, or, when it does not answer, what it said last.
func (r remote) tag(ctx context.Context, tag string) (Manifest, error) {
	m, err := r.latest(ctx, tag)
	switch {
	case err != nil:
	case m.Stale:
		r.counted("manifest", cacheStale)
	case m.Cached:
		r.counted("manifest", cacheHit)
	default:
		r.counted("manifest", cacheMiss)
	}
	return m, err
}

func (r remote) latest(ctx context.Context, tag string) (Manifest, error) {
	m, err := r.freshTag(ctx, tag)
	if !errors.Is(err, errUnknown) {
		return m, err
	}
	waiting, cancel := context.WithTimeout(ctx, impatience)
	defer cancel()
	m, err = r.askTag(waiting, tag, time.Time{})
	if err == nil || waiting.Err() == nil || ctx.Err() != nil {
		return m, err
	}
	if kept, missing := r.meta.FindCachedTag(ctx, r.repo, tag); missing == nil {
		if m, err := r.stale(kept, err); err == nil {
			return m, nil
		}
	}
	return r.askTag(ctx, tag, time.Time{})
}

// impatience is how long an upstream is waited for that said something before:
// one that answers nobody shall not slow down each pull of what is kept. It goes
// on being asked.
const impatience = 5 * time.Second

// freshTag is errUnknown where the upstream has to be asked.
func (r remote) freshTag(ctx context.Context, tag string) (Manifest, error) {
	c, err := r.meta.FindCachedTag(ctx, r.repo, tag)
	now := r.now()
	switch {
	case err == nil && now.Sub(c.CheckedAt) < r.upstream.Settings.TagTTL:
		r.pulled(c.Manifest.Digest)
		return Manifest{Manifest: c.Manifest, Cached: true, CheckedAt: c.CheckedAt}, nil
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return Manifest{}, ours(err)
	case err != nil:
		if r.absent.knows(r.key("tag "+tag), now) {
			return Manifest{}, errNotHere
		}
	}
	return Manifest{}, errUnknown
}

func (r remote) pulled(d oci.Digest) {
	r.pulls.add(meta.CachedPull{Repo: r.repo, Digest: d, Keep: r.upstream.Settings.Keep})
}

// askTag asks the upstream, unless another process has done so since.
func (r remote) askTag(ctx context.Context, tag string, since time.Time) (Manifest, error) {
	what := "tag " + tag
	return once(ctx, r, what, func(ctx context.Context) (Manifest, error) {
		return among(ctx, r, what,
			func(ctx context.Context) (Manifest, error) {
				if !since.IsZero() {
					return r.tagSince(ctx, tag, since)
				}
				return r.freshTag(ctx, tag)
			},
			func(ctx context.Context) (Manifest, error) { return r.revalidate(ctx, tag) })
	})
}

// tagSince is freshTag for a caller who wants to hear what the upstream says now.
func (r remote) tagSince(ctx context.Context, tag string, since time.Time) (Manifest, error) {
	c, err := r.meta.FindCachedTag(ctx, r.repo, tag)
	switch {
	case err == nil && !c.CheckedAt.Before(since):
		return Manifest{Manifest: c.Manifest, CheckedAt: c.CheckedAt}, nil
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return Manifest{}, ours(err)
	}
	return Manifest{}, errUnknown
}

// revalidate asks the upstream for what it says of the tag. What is kept already
// costs a HEAD; what is not is never asked for by HEAD first, since a cache in
// the middle fetches only on GET.
func (r remote) revalidate(ctx context.Context, tag string) (Manifest, error) {
	kept, err := r.meta.FindCachedTag(ctx, r.repo, tag)
	if err != nil {
		if fault.KindOf(err) != fault.NotFound {
			return Manifest{}, ours(err)
		}
		return r.take(ctx, oci.Reference{Tag: tag}, "tag "+tag)
	}
	m, err := r.confirm(ctx, tag, kept)
	switch outcomeOf(err) {
	case chain.Found:
		return m, nil
	case chain.NotHere:
		return m, r.gone(ctx, tag, err)
	default:
		return r.stale(kept, err)
	}
}

// confirm asks whether the tag is what it was, and fetches it if not.
func (r remote) confirm(ctx context.Context, tag string, kept meta.CachedTag) (Manifest, error) {
	head, err := r.client.HeadManifest(ctx, r.repo.Name, tag)
	now := r.now()
	if upstream.OutcomeOf(err) == upstream.NotHere || err == nil && head.Digest != kept.Manifest.Digest {
		return r.take(ctx, oci.Reference{Tag: tag}, "tag "+tag) // a 404 of a HEAD is not believed alone (E16)
	}
	if err != nil {
		return Manifest{}, err
	}
	r.pulled(kept.Manifest.Digest)
	err = r.meta.ConfirmCachedTag(ctx, r.repo, tag, kept.Manifest.Digest)
	if err != nil && fault.KindOf(err) == fault.NotFound { // removed meanwhile
		return r.take(ctx, oci.Reference{Tag: tag}, "tag "+tag)
	}
	return Manifest{Manifest: kept.Manifest, CheckedAt: now}, ours(err)
}

// gone forgets a tag that the upstream does not have any more.
func (r remote) gone(ctx context.Context, tag string, notHere error) error {
	if err := r.meta.DropCachedTag(ctx, r.repo, tag); err != nil {
		return ours(err)
	}
	return notHere
}

// deniedLimit is how long a tag is answered at most after its upstream began to
// refuse the tenant: long enough for a mistake of theirs, too short for a right
// that was taken away (contract row E16).
const deniedLimit = time.Hour

// stale answers what the upstream said last, where the tenant wants that and it
// is not too long ago; else with how asking it failed.
func (r remote) stale(kept meta.CachedTag, err error) (Manifest, error) {
	limit := r.upstream.Settings.StaleIfError
	if outcomeOf(err) == chain.Denied {
		limit = min(limit, deniedLimit)
	}
	if limit <= 0 || r.now().Sub(kept.CheckedAt) > r.upstream.Settings.TagTTL+limit {
		return Manifest{}, err
	}
	r.pulled(kept.Manifest.Digest)
	return Manifest{Manifest: kept.Manifest, Cached: true, CheckedAt: kept.CheckedAt, Stale: true, Age: r.now().Sub(kept.CheckedAt)}, nil
}
