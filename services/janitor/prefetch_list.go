package janitor

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// prefetchBatch is how many references are added in a transaction.
const prefetchBatch = 500

// list adds the references of the run: those that the prefetch names, and the tags that its
// patterns match. A pattern whose tags cannot be listed now becomes a reference itself, whose
// attempts list them (fetch). It may be repeated.
func (w *prefetchRun) list(ctx context.Context) error {
	references := slices.Clone(w.prefetch.References)
	for _, pattern := range w.prefetch.Patterns {
		matched, err := w.match(ctx, pattern)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			matched = []string{pattern}
		}
		references = append(references, matched...)
		if len(references) > meta.MaxPrefetched {
			break
		}
	}
	if err := w.add(ctx, references); err != nil {
		return err
	}
	return w.Meta.ListedPrefetch(ctx, w.step)
}

// match returns the tags that a pattern matches, and no more than one over what a run fetches.
func (w *prefetchRun) match(ctx context.Context, pattern string) ([]string, error) {
	name, of, err := meta.ParsePrefetchPattern(pattern)
	var matched []string
	for after, more := "", true; err == nil && more && len(matched) <= meta.MaxPrefetched; {
		var tags []string
		if tags, more, err = w.Tags(ctx, w.prefetch, name, after); err != nil {
			return nil, err
		}
		for _, tag := range tags {
			after = tag
			if oci.MatchesAny([]string{of}, tag) {
				matched = append(matched, name+":"+tag)
			}
		}
	}
	return matched, err
}

// add adds references to the run, as many as it may have.
func (w *prefetchRun) add(ctx context.Context, references []string) error {
	for batch := range slices.Chunk(references, prefetchBatch) {
		if limited, err := w.Meta.AddPrefetchReferences(ctx, w.step, batch); limited || err != nil {
			return err
		}
	}
	return nil
}
