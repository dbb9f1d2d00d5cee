package admin

import (
	"strings"

	"github.com/berth-registry/berth/pkg/meta"
)

// nameForm is the filter of lists of names.
var nameForm = filterForm{
	{"name", "=", `name="app" (this one)`},
	{"name", "=", `name="team/*" (begins so)`},
	{"name", ":", `name:"nginx" (contains it)`},
}

// searchNames answers one page of a list of names.
func searchNames(s *Service, list, parent string, req searchRequest, fetch func(meta.Between[string]) ([]string, error)) ([]string, string, error) {
	return searchVisibleNames(s.pages, list, parent, req, fetch, nil)
}

// searchVisibleNames leaves out names that are not visible; nil: all are.
func searchVisibleNames(tokens pageTokens, list, parent string, req searchRequest,
	fetch func(meta.Between[string]) ([]string, error), visible func(string) bool,
) ([]string, string, error) {
	within, contains, err := nameRange(req)
	if err != nil {
		return nil, "", err
	}
	names := search[string, string]{
		list: list, parent: parent, fetch: fetch,
		key: func(name string) string { return name },
	}
	if contains.value != "" || visible != nil {
		names.matches = func(key string) bool {
			name, _ := meta.ParseDeletedKey(key)
			return (contains.value == "" || contains.is(name)) && (visible == nil || visible(name))
		}
	}
	return names.page(tokens, req, within)
}

// nameRange turns filter and order into a part of an index, and what the names
// in it must contain.
func nameRange(req searchRequest) (meta.Between[string], condition, error) {
	within, contains := meta.Between[string]{Before: meta.LastName}, condition{}
	var err error
	if within.Descending, err = parseOrder("name", req.GetOrderBy(), false); err != nil {
		return within, contains, err
	}
	conditions, err := parseFilter(nameForm, req.GetFilter())
	if err != nil {
		return within, contains, err
	}
	for _, c := range conditions {
		if strings.ContainsFunc(c.value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return within, contains, nameForm.fault(req.GetFilter(), "no name has characters such as those of %q", clipped(c.value))
		}
		if c.op == ":" {
			contains = c
			continue
		}
		prefix, star := c.prefix()
		switch {
		case !star:
			// Nothing lies between these but the name itself, and keys of deleted
			// repositories that had it.
			within.After, within.Before = before(c.value), c.value+"\x02"
		case prefix != "":
			within.After, within.Before = before(prefix), prefix+meta.LastName
		}
	}
	return within, contains, nil
}

// before is less than name and all that begins with it, but greater than every
// other name that is less: all have characters of ASCII only, none of them below
// the space.
func before(name string) string {
	last := len(name) - 1
	return name[:last] + string(name[last]-1) + meta.LastName
}
