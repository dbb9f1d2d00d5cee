package testserver

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// TagPages is how a Scripted lists tags.
type TagPages struct {
	Most       int                   // tags of a page; 0 = as many as are asked for
	Order      func(a, b string) int // nil: as the spec says
	IgnoreLast bool                  // the list begins with the first tag, whatever last is
	NeedLast   bool                  // a last that is no tag leads to an empty list
}

// PageTags changes how tags are listed from now on.
func (s *Scripted) PageTags(p TagPages) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tagPages = p
}

func (s *Scripted) listTags(r *http.Request, repo *scriptedRepo, name string) reply {
	pages, tags := s.tagPages, slices.Sorted(maps.Keys(repo.tags))
	if pages.Order != nil {
		slices.SortFunc(tags, pages.Order)
	}
	if last := r.FormValue("last"); last != "" && (!pages.IgnoreLast || r.FormValue("page") != "") {
		i := slices.IndexFunc(tags, func(tag string) bool { return tag == last || pages.Order == nil && !pages.NeedLast && tag > last })
		switch {
		case i < 0:
			tags = nil
		case tags[i] == last:
			tags = tags[i+1:]
		default:
			tags = tags[i:]
		}
	}
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil || n <= 0 {
		n = len(tags)
	}
	if pages.Most > 0 {
		n = min(n, pages.Most)
	}
	link := ""
	if n < len(tags) {
		tags = tags[:n]
		next := url.Values{"n": {strconv.Itoa(n)}, "last": {tags[n-1]}}
		if pages.IgnoreLast {
			next.Set("page", "next")
		}
		link = "<" + r.URL.Path + "?" + next.Encode() + `>; rel="next"`
	}
	list := given("application/json", "", encode(map[string]any{"name": name, "tags": tags}))
	return func(w http.ResponseWriter) {
		if link != "" {
			w.Header().Set("Link", link)
		}
		serveContent(w, r, list)
	}
}
