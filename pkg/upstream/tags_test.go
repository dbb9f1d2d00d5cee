package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tagServer lists tags t0000, t0001, … in pages of most.
func tagServer(total, most int, link func(r *http.Request, q url.Values) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		n, _ := strconv.Atoi(q.Get("n"))
		n = min(n, most)
		start := 0
		if last := q.Get("last"); last != "" {
			start, _ = strconv.Atoi(last[1:])
			start++
		}
		tags := []string{}
		for i := start; i < min(start+n, total); i++ {
			tags = append(tags, fmt.Sprintf("t%04d", i))
		}
		if start+n < total {
			q.Set("last", tags[len(tags)-1])
			w.Header().Set("Link", link(r, q))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "a/b", "tags": tags})
	}
}

func allTags(ctx context.Context, c *Client, limit int) ([]string, error) {
	return allTagsOf(ctx, c, "a/b", limit)
}

// allTagsOf reads all pages of a list.
func allTagsOf(ctx context.Context, c *Client, name string, limit int) ([]string, error) {
	l := NewTagList("", manyTags, limit)
	var all []string
	for l.More() {
		tags, next, err := c.Tags(ctx, name, l)
		if err != nil {
			return nil, err
		}
		all, l = append(all, tags...), next
	}
	return all, nil
}

func relative(r *http.Request, q url.Values) string {
	return "<" + r.URL.Path + "?" + q.Encode() + `>; rel="next"`
}

func TestTags_Pages(t *testing.T) {
	for name, link := range map[string]func(r *http.Request, q url.Values) string{
		"relative": relative,
		"absolute": func(r *http.Request, q url.Values) string {
			return `<https://` + strings.ToUpper(r.Host) + r.URL.Path + "?" + q.Encode() + `>; rel=next`
		},
		"among others": func(r *http.Request, q url.Values) string {
			return `</first>; rel="first", ` + relative(r, q) + `, </last>; rel="last"`
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, patient(), tagServer(250, 70, link))
			all, err := allTags(t.Context(), c, 250)
			if err != nil || len(all) != 250 || all[249] != "t0249" {
				t.Errorf("%d tags, %v", len(all), err)
			}
			if _, err := allTags(t.Context(), c, 249); OutcomeOf(err) != Outage {
				t.Errorf("a list that is longer than the limit: %v", err)
			}
		})
	}
}

// TestE13_ListsWithoutEnd are given up, and lead nowhere else.
func TestE13_ListsWithoutEnd(t *testing.T) {
	for name, link := range map[string]string{
		"to itself":         `</v2/a/b/tags/list?n=1000&x=y>; rel="next"`,
		"another host":      `<https://evil.example.net/v2/a/b/tags/list?last=a>; rel="next"`,
		"another port":      `<http://127.0.0.1:1/v2/a/b/tags/list?last=a>; rel="next"`,
		"with a user":       `<http://u@127.0.0.1/v2/a/b/tags/list?last=a>; rel="next"`,
		"no query":          `</v2/a/b/tags/list>; rel="next"`,
		"no URL":            `<http://[::1>; rel="next"`,
		"opaque":            `<mailto:x?y=1>; rel="next"`,
		"protocol-relative": `<//evil.example.net/?x=1>; rel="next"`,
	} {
		asked := 0
		c := serve(t, patient(), func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.Header().Set("Link", link)
			fmt.Fprint(w, `{"tags":["a"]}`)
		})
		_, err := allTags(t.Context(), c, 1000)
		wantOutage(t, err)
		want := 1
		switch name {
		case "to itself":
			want = 2 // the first page is asked for in other words
		case "another host", "another port":
			want = 2 // it is another name of the same list, which is asked at the same host (T8)
		}
		if asked != want {
			t.Errorf("%s: %d requests", name, asked)
		}
	}
	asked := 0
	c := serve(t, patient(), func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Link", fmt.Sprintf(`<?x=%d>; rel="next"`, asked))
		fmt.Fprint(w, `{"tags":[]}`)
	})
	_, err := allTags(t.Context(), c, 1000)
	wantOutage(t, err)
	if asked != maxPages {
		t.Errorf("%d pages of nothing", asked)
	}
}

// TestTags_QuayRefusesLongPages: it is asked for short ones then.
func TestTags_QuayRefusesLongPages(t *testing.T) {
	list := tagServer(250, 100, relative)
	c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
		if n, _ := strconv.Atoi(r.URL.Query().Get("n")); n > 100 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		list(w, r)
	})
	if all, err := allTags(t.Context(), c, 1000); err != nil || len(all) != 250 {
		t.Errorf("%d tags, %v", len(all), err)
	}
}

func TestTags_OddAnswers(t *testing.T) {
	for body, want := range map[string][]string{
		`{"name":"a/b","tags":null}`: nil,
		`{"name":"a/b"}`:             nil,
		`{"tags":["b","../x","a","","-x","` + strings.Repeat("a", 129) + `"]}`: {"b", "a"},
		`<html>`:           {"outage"},
		`{"tags":{"a":1}}`: {"outage"},
		`{"tags":[1]}`:     {"outage"},
		``:                 {"outage"},
		`{"tags":["` + strings.Repeat("a", maxTagPage) + `"]}`: {"outage"},
	} {
		c := serve(t, patient(), func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
		tags, err := allTags(t.Context(), c, 10)
		if err != nil {
			wantOutage(t, err)
			tags = []string{"outage"}
		}
		if !slices.Equal(tags, want) {
			t.Errorf("%.50s: %q", body, tags)
		}
	}
}
