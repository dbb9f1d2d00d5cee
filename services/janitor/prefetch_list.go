package janitor

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// prefetchBatch is how many references are added in a transaction.
const prefetchBatch = 500

// list adds the references of the run: those that the prefetch names, and the tags that its
// patterns match. It may be repeated.
func (w *prefetchRun) list(ctx context.Context) error {
	l := listing{prefetchRun: w}
	for _, r := range w.prefetch.References {
		if err := l.add(ctx, r); err != nil {
			return err
		}
	}
	for _, pattern := range w.prefetch.Patterns {
		if err := l.match(ctx, pattern); err != nil {
			return err
		}
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	return w.Meta.ListedPrefetch(ctx, w.step, l.limited)
}

// listing gathers references.
type listing struct {
	*prefetchRun
	batch   []string
	total   int
	limited bool
}

// match adds the tags that a pattern matches. What the upstream does not have, or denies,
// fails for this run, and shows as a reference.
func (l *listing) match(ctx context.Context, pattern string) error {
	name, of, err := meta.ParsePrefetchPattern(pattern)
	after, more := "", true
	for err == nil && more && !l.limited {
		var tags []string
		if tags, more, err = l.Tags(ctx, l.prefetch, name, after); err != nil {
			break
		}
		for _, tag := range tags {
			after = tag
			if oci.MatchesAny([]string{of}, tag) {
				if err := l.add(ctx, name+":"+tag); err != nil {
					return err
				}
			}
		}
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Denied, fault.Invalid:
	default:
		return err // the run is tried again
	}
	if err := l.add(ctx, pattern); err != nil {
		return err
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	return l.Meta.RecordPrefetch(ctx, l.step, pattern, meta.PrefetchResult{State: meta.PrefetchFailed, Failure: fault.From(err).Message})
}

func (l *listing) add(ctx context.Context, reference string) error {
	if l.total == meta.MaxPrefetched {
		l.limited = true
		return nil
	}
	l.total++
	l.batch = append(l.batch, reference)
	if len(l.batch) < prefetchBatch {
		return nil
	}
	return l.flush(ctx)
}

func (l *listing) flush(ctx context.Context) error {
	err := l.Meta.AddPrefetchReferences(ctx, l.step, l.batch)
	l.batch = nil
	return err
}
