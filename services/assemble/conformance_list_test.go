package assemble_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
)

// tagList is the answer of tags/list.
type tagList struct {
	Name string    `json:"name"`
	Tags *[]string `json:"tags"`
}

// tags reads one page and checks its form. query is empty or begins with a
// question mark.
func (r repository) tags(t *testing.T, query string) ([]string, answer) {
	t.Helper()
	return r.tagsAt(t, r.at("tags/list")+query)
}

func (r repository) tagsAt(t *testing.T, target string) ([]string, answer) {
	t.Helper()
	a := r.get(t, target).want(t, http.StatusOK).wantHeader(t, "Content-Type", "application/json")
	var list tagList
	a.decode(t, &list)
	if list.Name != r.name || list.Tags == nil {
		t.Fatalf("%s: got %s, want the name %s and tags that are a list", a.what, clip(string(a.body)), r.name)
	}
	return *list.Tags, a
}

func wantList(t *testing.T, a answer, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %v, want %v", a.what, got, want)
	}
}

// tagged pushes one manifest under all of the tags, last to first, and returns
// them in byte order.
func (r repository) tagged(t *testing.T, tags ...string) []string {
	t.Helper()
	m := r.push(t, r.image(t, nil))
	for _, tag := range slices.Backward(tags) {
		r.push(t, m, tag)
	}
	return slices.Sorted(slices.Values(tags))
}

var tagListRequirements = []requirement{
	{"Listing Tags", must, "200 with the name and all tags, in order", func(t *testing.T, r repository) {
		all := r.tagged(t, "latest", "1.0", "1.0.1", "10", "2", "Beta", "alpha", "_x", "z-z")
		got, a := r.tags(t, "")
		wantList(t, a, got, all)
		a.wantNoHeader(t, "Link")
	}},
	{"Listing Tags", must, "a repository without tags has an empty list", func(t *testing.T, r repository) {
		r.push(t, r.image(t, nil))
		got, a := r.tags(t, "")
		wantList(t, a, got, []string{})
	}},
	{"Listing Tags", must, "404 for a repository that is not there", func(t *testing.T, r repository) {
		r.get(t, r.at("tags/list")).want(t, http.StatusNotFound).wantCode(t, "NAME_UNKNOWN")
	}},
	{"Listing Tags", must, "n: so many, from the beginning", func(t *testing.T, r repository) {
		all := r.tagged(t, "a", "b", "c", "d")
		for n := range len(all) {
			got, a := r.tags(t, fmt.Sprintf("?n=%d", n))
			wantList(t, a, got, all[:n])
		}
		for _, n := range []string{"4", "5", "1000", "1001", "1000000000000000000", "99999999999999999999999999"} {
			got, a := r.tags(t, "?n="+n)
			wantList(t, a, got, all)
			a.wantNoHeader(t, "Link")
		}
	}},
	{"Listing Tags", must, "n of zero is an empty list without Link", func(t *testing.T, r repository) {
		r.tagged(t, "a", "b")
		for _, query := range []string{"?n=0", "?n=0&last=a"} {
			got, a := r.tags(t, query)
			wantList(t, a, got, []string{})
			a.wantNoHeader(t, "Link")
		}
	}},
	{"Listing Tags", must, "last: what follows it, without it, whether it is there or not", func(t *testing.T, r repository) {
		all := r.tagged(t, "b", "d", "f", "h")
		for last, want := range map[string][]string{"a": all, "b": all[1:], "c": all[1:], "d": all[2:], "g": all[3:], "h": {}, "z": {}} {
			got, a := r.tags(t, "?last="+last)
			wantList(t, a, got, want)
			got, a = r.tags(t, "?n=2&last="+last)
			wantList(t, a, got, want[:min(len(want), 2)])
		}
	}},
	{"Listing Tags", must, "Link leads through all tags, each once", func(t *testing.T, r repository) {
		var all []string
		for i := range 11 {
			all = append(all, fmt.Sprintf("v%02d", i))
		}
		r.tagged(t, all...)
		for _, n := range []int{1, 4, 11} {
			var found []string
			for next := r.at("tags/list?n=%d", n); next != ""; {
				page, a := r.tagsAt(t, next)
				if len(page) > n {
					t.Fatalf("%s: got %d tags, want at most %d", a.what, len(page), n)
				}
				found = append(found, page...)
				next = a.nextPage(t)
			}
			if !slices.Equal(found, all) {
				t.Fatalf("pages of %d: got %v, want %v", n, found, all)
			}
		}
	}},
	{"Listing Tags", ours, "n that is not a number is 400", func(t *testing.T, r repository) {
		r.tagged(t, "a")
		for _, n := range []string{"", "-1", "a", "1.5", "0x1", "1e3", "+1", " 1"} {
			r.get(t, r.at("tags/list?n=%s", url.QueryEscape(n))).want(t, http.StatusBadRequest).wantCode(t, "UNSUPPORTED")
		}
		r.get(t, r.at("tags/list?n=1&n=2")).want(t, http.StatusBadRequest)
	}},
}

// catalogRequirements are those of the Docker registry API, which the
// distribution spec keeps as an extension (extensions/_oci.md).
var catalogRequirements = []requirement{
	{"Catalog", ours, "lists the repositories of the registry in order, each once", func(t *testing.T, r repository) {
		want := []string{r.name, r.sibling("a").name, r.sibling("b/c").name}
		for _, name := range want {
			repository{r.deployment, name}.tagged(t, "latest")
		}
		var found []string
		for next := "/v2/_catalog?n=20"; next != ""; {
			a := r.get(t, next).want(t, http.StatusOK).wantHeader(t, "Content-Type", "application/json")
			var page struct {
				Repositories []string `json:"repositories"`
			}
			a.decode(t, &page)
			if len(page.Repositories) > 20 {
				t.Fatalf("%s: got %d repositories, want at most 20", a.what, len(page.Repositories))
			}
			found = append(found, page.Repositories...)
			next = a.nextPage(t)
		}
		if !slices.IsSorted(found) || len(slices.Compact(slices.Clone(found))) != len(found) {
			t.Errorf("not in order or not unique: %v", found)
		}
		for _, name := range want {
			if !slices.Contains(found, name) {
				t.Errorf("%s is not in the catalog", name)
			}
		}
	}},
	{"Catalog", ours, "last and n work as in tag lists", func(t *testing.T, r repository) {
		first, second := r.sibling("0"), r.sibling("1")
		first.tagged(t, "latest")
		second.tagged(t, "latest")
		a := r.get(t, "/v2/_catalog?n=1&last="+first.name).want(t, http.StatusOK)
		a.wantBody(t, fmt.Appendf(nil, "{\"repositories\":[%q]}\n", second.name))
		r.get(t, "/v2/_catalog?n=0").want(t, http.StatusOK).wantBody(t, []byte("{\"repositories\":[]}\n")).wantNoHeader(t, "Link")
		r.get(t, "/v2/_catalog?n=-1").want(t, http.StatusBadRequest)
	}},
	{"Catalog", ours, "a repository without a manifest is not listed", func(t *testing.T, r repository) {
		empty, full := r.sibling("0"), r.sibling("1")
		empty.blob(t, 1)
		full.tagged(t, "latest")
		a := r.get(t, "/v2/_catalog?n=1&last="+r.name+"/.").want(t, http.StatusOK)
		a.wantBody(t, fmt.Appendf(nil, "{\"repositories\":[%q]}\n", full.name))
	}},
}
