package cache

import (
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
)

// tagRun is a part of an upstream's list of tags: what follows one tag, read page by page
// up to a point. It is a value; with makes another.
type tagRun struct {
	after     string   // the part begins after this tag; empty: with the first
	tags      []string // in the upstream's order until the list ends, then sorted
	unordered bool     // the upstream's order is not ascending, or begins before after
	rest      upstream.TagList
	began     time.Time // the request of the first page; zero before
	said      time.Time // the request of the last page
}

// newTagRun is a run without a page yet. size is how many tags are wanted.
func newTagRun(after string, size int) tagRun {
	return tagRun{after: after, rest: upstream.NewTagList(after, size, maxTags)}
}

// isRead reports whether the run has a page.
func (run tagRun) isRead() bool { return !run.began.IsZero() }

// ended reports whether the run reaches the end of the list.
func (run tagRun) ended() bool { return run.isRead() && !run.rest.More() }

// last is the last tag of the run; after if it has none.
func (run tagRun) last() string {
	if len(run.tags) == 0 {
		return run.after
	}
	return run.tags[len(run.tags)-1]
}

// with is the run with one more page.
func (run tagRun) with(page []string, rest upstream.TagList, now time.Time) tagRun {
	last := run.last()
	for _, tag := range page {
		run.unordered = run.unordered || tag <= last
		last = tag
	}
	if !run.isRead() {
		run.began = now
	}
	run.tags, run.rest, run.said = slices.Concat(run.tags, page), rest, now
	if run.ended() && run.unordered {
		slices.Sort(run.tags)
		run.tags = slices.Compact(run.tags)
	}
	return run
}

// reaches reports whether the run has what follows a tag.
func (run tagRun) reaches(after string) bool {
	return run.isRead() && !run.unordered && run.after <= after && (after <= run.last() || run.ended())
}

// page is a page of tags, or false if more of the list must be read for it.
func (run tagRun) page(p meta.Page) ([]string, bool) {
	if !run.ended() && (run.unordered || !run.reaches(p.After)) {
		return nil, false
	}
	from, found := slices.BinarySearch(run.tags, p.After)
	if found {
		from++
	}
	if from+p.Size > len(run.tags) && !run.ended() {
		return nil, false
	}
	return run.tags[from:min(from+p.Size, len(run.tags))], true
}

// maxParts is how many parts of a list are remembered besides its beginning.
const maxParts = 8

// knownTags is what is known of an upstream's list of tags.
type knownTags struct {
	start tagRun   // from the first tag on
	last  tagRun   // the whole list before start, while start is being read
	parts []tagRun // from other tags on
	whole bool     // the upstream does not list in ascending order: it is read to its end
}

// put is k with a run that has one more page.
func (k knownTags) put(run tagRun) knownTags {
	k.whole = k.whole || run.unordered
	switch {
	case run.after == "":
		if k.start.ended() {
			k.last = k.start
		}
		k.start = run
		if run.ended() {
			k.last, k.parts = tagRun{}, nil
		}
	case run.unordered:
		k.parts = nil
	default:
		parts := slices.DeleteFunc(slices.Clone(k.parts), func(part tagRun) bool { return part.after == run.after })
		k.parts = append(parts[max(0, len(parts)+1-maxParts):], run)
	}
	return k
}

// without is k without a run, if it was not read further meanwhile.
func (k knownTags) without(run tagRun) knownTags {
	same := func(other tagRun) bool {
		return other.after == run.after && other.began.Equal(run.began) && len(other.tags) == len(run.tags)
	}
	if same(k.start) {
		k.start = tagRun{}
	}
	k.parts = slices.DeleteFunc(slices.Clone(k.parts), same)
	return k
}

// nearest is the run to read a page from. If the page's tag is certainly one of this
// upstream, the run may begin there.
func (k knownTags) nearest(p meta.Page, jump bool, fresh func(tagRun) bool) tagRun {
	start := newTagRun("", p.Size)
	if fresh(k.start) {
		start = k.start
	}
	if !jump || k.whole || p.After == "" || start.reaches(p.After) {
		return start
	}
	for _, part := range slices.Backward(k.parts) {
		if fresh(part) && part.reaches(p.After) {
			return part
		}
	}
	return newTagRun(p.After, p.Size)
}

// further is the run with the pages that were read since, by other requests.
func (k knownTags) further(run tagRun, since time.Time) (tagRun, bool) {
	for _, other := range append([]tagRun{k.start}, k.parts...) {
		switch {
		case !other.isRead() || other.after != run.after:
		case !run.isRead() && !other.began.Before(since),
			run.isRead() && other.began.Equal(run.began) && (len(other.tags) > len(run.tags) || other.ended()):
			return other, true
		}
	}
	return tagRun{}, false
}

// all are the runs, the most complete first.
func (k knownTags) all() []tagRun { return append([]tagRun{k.last, k.start}, k.parts...) }

// size is about the memory that the runs take.
func (k knownTags) size() int {
	const header = 64
	size := 0
	for _, run := range k.all() {
		for _, tag := range run.tags {
			size += header + len(tag)
		}
	}
	return size
}
