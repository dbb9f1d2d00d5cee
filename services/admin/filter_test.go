package admin

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func TestP30_FiltersAreRead(t *testing.T) {
	for filter, want := range map[string][]condition{
		"":                            nil,
		"  ":                          nil,
		`name="app"`:                  {{"name", "=", "app"}},
		` name = "team/*" `:           {{"name", "=", "team/*"}},
		`name:"a" AND name="b*"`:      {{"name", ":", "a"}, {"name", "=", "b*"}},
		`name="b"   AND   name : "a"`: {{"name", "=", "b"}, {"name", ":", "a"}},
		`name:"a\"b\\c"`:              {{"name", ":", `a"b\c`}},
		`name:" AND name="`:           {{"name", ":", " AND name="}},
	} {
		if got, err := parseFilter(nameForm, filter); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", filter, got, err, want)
		}
	}
}

func TestP32_RefusalsSayWhatIsKnown(t *testing.T) {
	for filter, says := range map[string]string{
		`nam="a"`:                 `"nam=\"a\"": nam= is not a condition of this list; known are name="app" (this one), name="team/*" (begins so), name:"nginx" (contains it), joined by AND`,
		`name!="a"`:               `name!= is not a condition`,
		`name>"a"`:                `name> is not a condition`,
		`name`:                    `name is not a condition`,
		`name=app`:                `a value is in double quotes`,
		`name='app'`:              `a value is in double quotes`,
		`name="app`:               `no closing quote`,
		`name=""`:                 `a value is empty`,
		`name="*a"`:               `a star stands only at the end`,
		`name:"a*"`:               `a star stands only at the end`,
		`name="a\b"`:              `a backslash stands only before`,
		"name:\"a\nb\"":           `control character`,
		`name="a" OR name="b"`:    `not by "OR name=`,
		`name="a" name="b"`:       `not by "name=`,
		`name="a" AND`:            `not by "AND"`,
		`name="a" AND name="b"`:   `name= is given twice`,
		`NOT name="a"`:            `begins with the name of a field`,
		`(name="a")`:              `begins with the name of a field`,
		`name:"ü"`:                `no name has characters`,
		strings.Repeat(" ", 1025): `at most 1024 bytes`,
		strings.Repeat("n", 1000): `nnn… is not a condition`,
		`verb="manifest.put"`:     `verb= is not a condition`,
	} {
		_, _, err := nameRange(listing{filter: filter})
		if f := fault.From(err); err == nil || f.Field != "filter" || f.Reason != fault.RequestInvalid || !strings.Contains(f.Error(), says) {
			t.Errorf("%.80s: %v; want %s", filter, err, says)
		}
	}
	if _, err := parseEventFilter(`time>="yesterday"`); err == nil || !strings.Contains(err.Error(), `"yesterday" is not a time, such as "2026-01-01T00:00:00Z"`) {
		t.Errorf("%v", err)
	}
	for _, order := range []string{"names", "name asc", "name desc desc", "name,name", "name desc,time", "desc", "time", "NAME", "name; DROP TABLE tags"} {
		_, _, err := nameRange(listing{order: order})
		if f := fault.From(err); err == nil || f.Field != "order_by" || !strings.Contains(f.Error(), `known are "name" and "name desc"`) {
			t.Errorf("%s: %v", order, err)
		}
	}
}

// listing is a request of the tests for one page.
type listing struct {
	size                 int32
	token, filter, order string
}

func (l listing) GetPageSize() int32   { return l.size }
func (l listing) GetPageToken() string { return l.token }
func (l listing) GetFilter() string    { return l.filter }
func (l listing) GetOrderBy() string   { return l.order }

// partOf is the part of sorted rows that a store returns, and how many they are.
func partOf[Row any, Key string | int64](rows []Row, key func(Row) Key, b meta.Between[Key]) []Row {
	var found []Row
	for _, row := range rows {
		if k := key(row); k > b.After && k < b.Before {
			found = append(found, row)
		}
	}
	if b.Descending {
		slices.Reverse(found)
	}
	return found[:min(b.Size, len(found))]
}

// TestP31_PagesReadSoMuch looks for few rows among many: no page reads more than
// it may, and together they find them all.
func TestP31_PagesReadSoMuch(t *testing.T) {
	const rows = 3*mostScanned + 500
	all := make([]string, rows)
	var needles []string
	for i := range all {
		all[i] = fmt.Sprintf("n%06d", i)
		if i%7000 == 6999 {
			all[i] += "-needle"
			needles = append(needles, all[i])
		}
	}
	for _, order := range []string{"name", "name desc"} {
		s := &Service{pages: testTokens}
		read := 0
		fetch := func(b meta.Between[string]) ([]string, error) {
			found := partOf(all, func(name string) string { return name }, b)
			read += len(found)
			return found, nil
		}
		var got []string
		req, pages := listing{size: 2, filter: `name:"needle"`, order: order}, 0
		for {
			read = 0
			page, next, err := searchNames(s, "tags", "p", req, fetch)
			if err != nil || len(page) > 2 || read > mostScanned {
				t.Fatalf("a page of %d after reading %d rows, %v", len(page), read, err)
			}
			got, pages, req.token = append(got, page...), pages+1, next
			if next == "" {
				break
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, needles) || pages > 6 {
			t.Errorf("%s: %d pages have %q, want %q", order, pages, got, needles)
		}
	}
}

// TestP31_TimesAreFoundByHalves holds the events of random logs, whose clock was
// set now and then, to all that a filter of times asks for.
func TestP31_TimesAreFoundByHalves(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 200 {
		var log []meta.Event
		id, at := int64(1), start
		for range random.IntN(300) {
			id += 1 + random.Int64N(1000)
			at = at.Add(time.Duration(random.Int64N(int64(2 * time.Hour))))
			log = append(log, meta.Event{ID: id, At: at.Add(-time.Duration(random.Int64N(int64(clockSlack))))})
		}
		reads := 0
		fetch := func(b meta.Between[int64]) ([]meta.Event, error) {
			reads++
			return partOf(log, func(e meta.Event) int64 { return e.ID }, b), nil
		}
		f := eventFilter{since: start.Add(time.Duration(random.Int64N(int64(400 * time.Hour))))}
		f.until = f.since.Add(time.Duration(random.Int64N(int64(100 * time.Hour))))
		part, err := f.narrow(meta.Between[int64]{Before: 1 << 62}, fetch)
		if err != nil || reads > 64 {
			t.Fatalf("%d reads, %v", reads, err)
		}
		for _, e := range log {
			if f.matches(e) && (e.ID <= part.After || e.ID >= part.Before) {
				t.Errorf("%v of %v is not in %+v", e, f, part)
			}
			far := e.At.Before(f.since.Add(-2*clockSlack)) || e.At.After(f.until.Add(2*clockSlack))
			if far && e.ID > part.After && e.ID < part.Before {
				t.Errorf("%v, which is far from %v, is in %+v", e, f, part)
			}
		}
	}
}

// FuzzFilter: what is taken has only conditions of the list, each once, and what
// is refused is a fault of the field that shows as text.
func FuzzFilter(f *testing.F) {
	f.Add(`name="app*" AND name:"x"`)
	f.Add(`verb="manifest.put" AND actor="serviceAccounts/ci" AND target:"a\"\\" AND time>="2026-01-01T00:00:00Z" AND time<"2026-02-01T00:00:00+01:00"`)
	for _, hostile := range hostileFilters() {
		f.Add(hostile)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		_, eventErr := parseEventFilter(filter)
		names, contains, nameErr := nameRange(listing{filter: filter})
		for _, err := range []error{nameErr, eventErr} {
			var refused *fault.Error
			if err != nil && (!errors.As(err, &refused) || refused.Field != "filter" || !utf8.ValidString(refused.Error())) {
				t.Errorf("%q: %v", filter, err)
			}
		}
		if nameErr == nil {
			for _, text := range []string{names.After, names.Before, contains.value} {
				if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
					t.Errorf("%q asks the store for %q", filter, text)
				}
			}
		}
		for _, form := range []filterForm{nameForm, eventForm} {
			conditions, err := parseFilter(form, filter)
			for i, c := range conditions {
				if err != nil || !form.has(c) || c.value == "" || slices.Contains(conditions[:i], c) {
					t.Errorf("%q: %q, %v", filter, conditions, err)
				}
			}
		}
	})
}
