package cache

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
)

// maxTags bounds the tags of a repository. More are an error: a truncated list would
// look complete.
const maxTags = 100_000

const tagsKey = "tags"

// Tags is a page of the upstream's tags. As much of the list is read as the page needs, and
// kept, so that a later page continues, as does a request after one that failed (contract
// row T12). alone says that p.After is a tag of this upstream and of no other member: then
// the list is read from there. If the upstream does not respond, the page is one of its
// last list, or of the cached tags that a pull would get now (T11).
func (r *Repository) Tags(ctx context.Context, p meta.Page, alone bool) ([]string, Freshness, error) {
	if r.CacheOnly {
		return r.cachedTags(ctx, p, time.Time{}, chain.ErrNotHere)
	}
	now := r.caches.Now()
	known := r.knownTags()
	fresh := func(run tagRun) bool { return r.isFresh(run, p, now) }
	run := known.nearest(p, alone, fresh)
	restarted := false
	for {
		if !known.whole || run.ended() {
			if tags, ok := run.page(p); ok {
				return tags, r.freshness(now.Sub(run.said)), nil
			}
		}
		if r.isAbsent(tagsKey) {
			return nil, Freshness{}, chain.ErrNotHere
		}
		next, err := r.readTags(ctx, run, now)
		if !restarted && unfit(run, next, err) {
			known = r.forgetRun(run)
			next, err, restarted = known.nearest(p, false, fresh), nil, true
		} else if rest, ok := r.client.Elsewhere(run.rest); ok && !restarted && chain.OutcomeOf(err) == chain.Outage && ctx.Err() == nil {
			known = r.forgetRun(run)
			next, err, restarted = tagRun{rest: rest}, nil, true
		}
		if err != nil {
			return r.lastTags(ctx, p, err)
		}
		run = next
	}
}

// unfit reports whether a run does not lead to the page, which the list read from its
// start does: the upstream refuses to continue there, or does not know the order of tags. A
// part without tags may mean that the upstream does not know the tag that it follows.
func unfit(run, next tagRun, err error) bool {
	if err == nil {
		return next.after != "" && (next.unordered || next.ended() && len(next.tags) == 0)
	}
	var e *upstream.Error
	if !errors.As(err, &e) || run.after == "" && !run.isRead() {
		return false
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return e.Status >= http.StatusBadRequest && e.Status < http.StatusInternalServerError
	}
}

// continueWithin is how old a run may be that is continued, however short its TTL: else a
// long list that breaks off is never read to its end.
const continueWithin = time.Minute

// isFresh reports whether a page may be served from a run at now, or read by continuing it.
// To read the list may take longer than its TTL.
func (r *Repository) isFresh(run tagRun, p meta.Page, now time.Time) bool {
	life := max(r.Settings.TagTTL, continueWithin)
	if _, ok := run.page(p); ok {
		life = r.listLife()
	}
	return run.isRead() && now.Sub(run.said) < life && now.Sub(run.began) < life+listsLife
}

func (r *Repository) knownTags() knownTags {
	l, _ := r.caches.lists.find(r.key(tagsKey))
	return l.tags
}

// forgetRun forgets a run that does not lead on, and returns what else is known.
func (r *Repository) forgetRun(run tagRun) knownTags {
	r.caches.lists.change(r.key(tagsKey), func(l list) list {
		l.tags = l.tags.without(run)
		return l
	})
	return r.knownTags()
}

// readTags gets the next page of the run, once for all requests that wait for it. since is
// when the request came.
func (r *Repository) readTags(ctx context.Context, run tagRun, since time.Time) (tagRun, error) {
	what := tagsKey + " after " + run.after + " " + run.rest.Position()
	return singleFlight(ctx, r, what, func(ctx context.Context) (tagRun, error) {
		if next, ok := r.knownTags().further(run, since); ok {
			return next, nil // it was just read
		}
		now := r.caches.Now()
		page, rest, err := r.client.Tags(ctx, r.Repo.Name, run.rest)
		if err != nil {
			return tagRun{}, err
		}
		next := run.with(page, rest, now)
		r.caches.lists.change(r.key(tagsKey), func(l list) list {
			l.tags = l.tags.put(next)
			return l
		})
		return next, nil
	})
}

// lastTags is a page of what was listed not too long ago, else of cachedTags.
func (r *Repository) lastTags(ctx context.Context, p meta.Page, err error) ([]string, Freshness, error) {
	if chain.OutcomeOf(err) == chain.NotHere {
		r.caches.lists.drop(r.key(tagsKey))
		r.noteAbsence(tagsKey, err)
		return nil, Freshness{}, err
	}
	now, known := r.caches.Now(), r.knownTags()
	for _, run := range known.all() {
		age := now.Sub(run.said)
		if known.whole && !run.ended() || age >= min(listsLife, r.Settings.TagTTL+r.staleLimit(err)) {
			continue
		}
		if tags, ok := run.page(p); ok {
			return tags, Freshness{Stale: true, Age: age}, nil
		}
	}
	limit := r.staleLimit(err)
	if limit <= 0 {
		return nil, Freshness{}, err
	}
	return r.cachedTags(ctx, p, now.Add(-r.Settings.TagTTL-limit), err)
}

// cachedTags is a page of the cached tags that were checked since then, or err if no page
// has one: an outage is no empty list.
func (r *Repository) cachedTags(ctx context.Context, p meta.Page, since time.Time, err error) ([]string, Freshness, error) {
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
