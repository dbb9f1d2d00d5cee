package admin

import (
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// clockSlack is how far the times of events may be out of the order of their ids:
// transactions end in another order than they began, and clocks are set.
const clockSlack = 24 * time.Hour

type fetchEvents func(meta.Between[int64]) ([]meta.Event, error)

// narrow leaves out of all the ids whose events are well outside the filter's
// times, so that a page does not read its way to them.
func (f eventFilter) narrow(all meta.Between[int64], fetch fetchEvents) (meta.Between[int64], error) {
	if !f.since.IsZero() {
		first, err := firstSince(f.since.Add(-clockSlack), all, fetch)
		if err != nil {
			return all, err
		}
		all.After = first - 1
	}
	if !f.until.IsZero() {
		end, err := firstSince(f.until.Add(clockSlack), all, fetch)
		if err != nil {
			return all, err
		}
		all.Before = end
	}
	return all, nil
}

// firstSince finds the id where the events in all begin to be at that time or
// later, by halves: all.Before if there is none.
func firstSince(at time.Time, all meta.Between[int64], fetch fetchEvents) (int64, error) {
	newest, err := fetch(meta.Between[int64]{After: all.After, Before: all.Before, Descending: true, Size: 1})
	if err != nil || len(newest) == 0 || newest[0].At.Before(at) {
		return all.Before, err
	}
	low, high := all.After+1, newest[0].ID
	for low < high {
		middle := low + (high-low)/2
		next, err := fetch(meta.Between[int64]{After: middle - 1, Before: high, Size: 1})
		switch {
		case err != nil:
			return 0, err
		case len(next) == 0 || !next[0].At.Before(at):
			high = middle
		default:
			low = next[0].ID + 1
		}
	}
	return low, nil
}
