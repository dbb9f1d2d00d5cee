package admin

import (
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// eventForm is the filter of the audit log.
var eventForm = filterForm{
	{"verb", "=", `verb="manifest.put"`},
	{"actor", "=", `actor="serviceAccounts/*"`},
	{"target", ":", `target:"dev"`},
	{"time", ">=", `time>="2026-01-01T00:00:00Z"`},
	{"time", "<", `time<"2026-02-01T00:00:00Z"`},
}

// eventFilter is the filter of events; a condition without a field is not set.
type eventFilter struct {
	verb, actor, target condition
	since, until        time.Time // until is exclusive; zero is not a bound
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
	}{{f.verb, e.Verb}, {f.actor, e.Actor}, {f.target, e.Target}} {
		if m.c.field != "" && !m.c.is(m.text) {
			return false
		}
	}
	return (f.since.IsZero() || !e.At.Before(f.since)) && (f.until.IsZero() || e.At.Before(f.until))
}
