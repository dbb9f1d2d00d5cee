package admin

import (
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// eventForm is the filter of the audit log.
var eventForm = filterForm{
	{"verb", "=", `verb="manifest.put"`},
	{"actor", "=", `actor="serviceAccounts/*"`},
	{"address", "=", `address="192.0.2.1"`},
	{"target", ":", `target:"dev"`},
	{"time", ">=", `time>="2026-01-01T00:00:00Z"`},
	{"time", "<", `time<"2026-02-01T00:00:00Z"`},
}

// eventFilter is the filter of events; a condition without a field is not set.
type eventFilter struct {
	verb, actor, target, address condition
	since, until                 time.Time // until is exclusive; zero is not a bound
}

func parseEventFilter(filter string) (eventFilter, error) {
	var f eventFilter
	conditions, err := parseFilter(eventForm, filter)
	if err != nil {
		return f, err
	}
	for _, c := range conditions {
		switch c.field {
		case "verb":
			f.verb = c
		case "actor":
			f.actor = c
		case "target":
			f.target = c
		case "address":
			f.address = c
		case "time":
			at, err := time.Parse(time.RFC3339Nano, c.value)
			if err != nil {
				return f, eventForm.fault(filter, `%q is not a time, such as "2026-01-01T00:00:00Z"`, clipped(c.value))
			}
			if c.op == "<" {
				f.until = at
			} else {
				f.since = at
			}
		}
	}
	return f, nil
}

func (f eventFilter) matches(e meta.Event) bool {
	for _, m := range []struct {
		c    condition
		text string
	}{{f.verb, e.Verb}, {f.actor, e.Actor}, {f.target, e.Target}, {f.address, e.Address}} {
		if m.c.field != "" && !m.c.is(m.text) {
			return false
		}
	}
	return (f.since.IsZero() || !e.At.Before(f.since)) && (f.until.IsZero() || e.At.Before(f.until))
}

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
