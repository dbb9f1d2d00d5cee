package ledger

import (
	"testing"
	"time"
)

func TestLedgerExplainsReads(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	done := func(v string, from, to int) *Write { return &Write{value: v, start: at(from), end: at(to)} }
	open := func(v string, from int) *Write { return &Write{value: v, start: at(from)} }
	no := func(v string, from int) *Write { return &Write{value: v, start: at(from), refused: true} }

	for name, c := range map[string]struct {
		writes   []*Write
		value    string
		from, to int
		explains bool
	}{
		"the only write":                 {[]*Write{done("a", 0, 1)}, "a", 2, 3, true},
		"a write that was lost":          {[]*Write{done("a", 0, 1)}, "", 2, 3, false},
		"nothing was written":            {nil, "", 2, 3, true},
		"a value no one wrote":           {[]*Write{done("a", 0, 1)}, "b", 2, 3, false},
		"an overwritten value":           {[]*Write{done("a", 0, 1), done("b", 2, 3)}, "a", 4, 5, false},
		"two writes at once, first":      {[]*Write{done("a", 0, 3), done("b", 1, 2)}, "a", 4, 5, true},
		"two writes at once, second":     {[]*Write{done("a", 0, 3), done("b", 1, 2)}, "b", 4, 5, true},
		"a read beside a write, old":     {[]*Write{done("a", 0, 1), done("b", 2, 5)}, "a", 3, 4, true},
		"a read beside a write, new":     {[]*Write{done("a", 0, 1), done("b", 2, 5)}, "b", 3, 4, true},
		"a read before the write began":  {[]*Write{done("a", 5, 6)}, "a", 1, 2, false},
		"no answer, not happened":        {[]*Write{done("a", 0, 1), open("b", 2)}, "a", 3, 4, true},
		"no answer, happened":            {[]*Write{done("a", 0, 1), open("b", 2)}, "b", 3, 4, true},
		"no answer, happened very late":  {[]*Write{open("b", 0), done("a", 1, 2)}, "b", 3, 4, true},
		"a refused write":                {[]*Write{done("a", 0, 1), no("b", 2)}, "b", 3, 4, false},
		"a delete that came undone":      {[]*Write{done("a", 0, 1), done("", 2, 3)}, "a", 4, 5, false},
		"a delete without an answer":     {[]*Write{done("a", 0, 1), open("", 2)}, "a", 4, 5, true},
		"written again after the delete": {[]*Write{done("a", 0, 1), done("", 2, 3), done("a", 4, 5)}, "a", 6, 7, true},
	} {
		l := New()
		l.writes[Tag("a", "b")] = c.writes
		if err := l.Check(Tag("a", "b"), c.value, at(c.from), at(c.to)); (err == nil) != c.explains {
			t.Errorf("%s: explained %v, want %v (%v)", name, err == nil, c.explains, err)
		}
	}
}
