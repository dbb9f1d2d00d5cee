package cache

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
)

// maxTags bounds the tags of a repository. More are an error: a truncated list would
// look complete.
const maxTags = 100_000

// Tags is a page of the upstream's tags. If the upstream does not respond, it is a page of
// its last list, or of the cached tags that a pull would get now (contract row T11).
func (r *Repository) Tags(ctx context.Context, p meta.Page) ([]string, Freshness, error) {
	l, fresh, err := r.listOf(ctx, "tags", func(ctx context.Context) (list, error) {
		tags, err := r.client.AllTags(ctx, r.Repo.Name, maxTags)
		slices.Sort(tags)
		return list{tags: slices.Compact(tags)}, err
	})
	if err != nil {
		return r.cachedTags(ctx, p, err)
	}
	from, found := slices.BinarySearch(l.tags, p.After)
	if found {
		from++
	}
	return l.tags[from:min(from+p.Size, len(l.tags))], fresh, nil
}

// cachedTags is a page of the cached tags that are not too old, or err if there are none,
// on any page: an outage is no empty list.
func (r *Repository) cachedTags(ctx context.Context, p meta.Page, err error) ([]string, Freshness, error) {
	limit := r.staleLimit(err)
	if chain.OutcomeOf(err) == chain.NotHere || limit <= 0 {
		return nil, Freshness{}, err
	}
	since := r.caches.Now().Add(-r.Settings.TagTTL - limit)
	tags, failed := r.caches.Meta.ListCachedTags(ctx, r.Repo, since, p)
	if failed == nil && len(tags) == 0 && p.After != "" {
		var any []string
		if any, failed = r.caches.Meta.ListCachedTags(ctx, r.Repo, since, meta.Page{Size: 1}); len(any) > 0 {
			err = nil // they ended
		}
	} else if len(tags) > 0 {
		err = nil
	}
	switch {
	case failed != nil:
		return nil, Freshness{}, chain.Internal(failed)
	case err != nil:
		return nil, Freshness{}, err
	default:
		return tags, Freshness{Stale: true, Incomplete: true}, nil
	}
}
