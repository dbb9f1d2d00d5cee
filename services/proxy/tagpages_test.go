package proxy_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// manyTags makes a repository of n tags, t0000 and so on.
func manyTags(up *testserver.Scripted, n int) (string, []string) {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("t%04d", i)
	}
	up.PushManifest("library/long", up.Image.Manifest, tags...)
	return "/v2/library/long/tags/list", tags
}

// TestT12_ALongList is asked for as far as is needed, from the tag that the client names,
// and once for all of its pages.
func TestT12_ALongList(t *testing.T) {
	t.Parallel()
	const most = 100
	for _, c := range []struct {
		query    string
		from, to int
		requests int
		last     string // that the upstream is asked for at first
	}{
		{"n=5", 0, 5, 1, ""},
		{"n=5&last=t1500", 1501, 1506, 1, "t1500"},
		{"n=5&last=t1500x", 1501, 1506, 1, "t1500x"},
		{"n=0&last=t1500", 0, 0, 1, "t1500"},
		{"n=250", 0, 250, 3, ""},
		{"", 0, 1000, 11, ""},
		{"n=5&last=t1998", 1999, 2000, 1, "t1998"},
	} {
		w, up := newHub(t)
		path, tags := manyTags(up, 2000)
		up.PageTags(testserver.TagPages{Most: most})
		a := w.get(path + "?" + c.query)
		if got := tagsIn([]byte(a.Body)); !slices.Equal(got, tags[c.from:c.to]) && len(got)+c.to-c.from > 0 {
			t.Errorf("%s: %d %s", c.query, a.Status, a.Body)
		}
		asked := up.Requests()
		if first, err := url.ParseQuery(asked[0].Query); err != nil || len(asked) != c.requests || first.Get("last") != c.last {
			t.Errorf("%s: %d requests, want %d, the first after %q: %+v", c.query, len(asked), c.requests, c.last, asked)
		}
	}
	w, up := newHub(t)
	path, tags := manyTags(up, 2000)
	up.PageTags(testserver.TagPages{Most: most})
	for range 2 {
		if got := w.tags(path, 30); !slices.Equal(got, tags) {
			t.Errorf("%d tags by pages of 30, want %d", len(got), len(tags))
		}
		if n := up.Count("", "*"); n != len(tags)/most {
			t.Errorf("%d requests for %d pages", n, len(tags)/most)
		}
	}
	w.pass(tagTTL)
	if a := w.get(path + "?n=5"); a.Status != http.StatusOK || up.Count("", "*") != len(tags)/most+1 {
		t.Errorf("%d, and %d requests after tag_ttl", a.Status, up.Count("", "*"))
	}
	up.Script(testserver.FaultRefused) // what was whole counts until it is read again
	if got := w.tags(path, 1000); !slices.Equal(got, tags) {
		t.Errorf("%d tags in an outage, want %d", len(got), len(tags))
	}
}

// TestT12_OddOrders are read as a whole where that is needed: each page is right.
func TestT12_OddOrders(t *testing.T) {
	t.Parallel()
	byNumber := func(a, b string) int { // as pushed: t10 after t9
		x, _ := strconv.Atoi(a[1:])
		y, _ := strconv.Atoi(b[1:])
		return cmp.Compare(x, y)
	}
	for name, how := range map[string]testserver.TagPages{
		"ascending":              {Most: 100},
		"descending":             {Most: 100, Order: func(a, b string) int { return strings.Compare(b, a) }},
		"as pushed":              {Most: 100, Order: byNumber},
		"last is ignored":        {Most: 100, IgnoreLast: true},
		"last must be there":     {Most: 100, NeedLast: true},
		"as pushed, and ignored": {Most: 100, Order: byNumber, IgnoreLast: true},
	} {
		for _, ttl := range []time.Duration{tagTTL, 0} {
			w := newWorld(t)
			up := testserver.StartScripted(t)
			w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.TagTTL = ttl })
			w.chain(meta.Member{Upstream: "hub"})
			tags := make([]string, 350)
			for i := range tags {
				tags[i] = fmt.Sprintf("t%d", i)
			}
			up.PushManifest("library/long", up.Image.Manifest, tags...)
			up.PageTags(how)
			slices.Sort(tags)
			for _, after := range []string{"t2", "", "t349", "t10", "t33x", "a", "zzz", "t99"} {
				for _, n := range []int{1, 120, 1000} {
					rest := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return tag <= after })
					rest = rest[:min(n, len(rest))]
					a := w.get("/v2/library/long/tags/list?" + url.Values{"n": {strconv.Itoa(n)}, "last": {after}}.Encode())
					if got := tagsIn([]byte(a.Body)); a.Status != http.StatusOK || !slices.Equal(got, rest) && len(got)+len(rest) > 0 {
						t.Errorf("%s, %v: %d after %q: %d, %d tags, want %d", name, ttl, n, after, a.Status, len(got), len(rest))
					}
				}
			}
		}
	}
}

// TestT12_TheTagOfAnotherMember is not one that the upstream must know: its list is read
// from the start.
func TestT12_TheTagOfAnotherMember(t *testing.T) {
	w := newWorld(t)
	first, second := testserver.StartScripted(t), testserver.StartScripted(t)
	w.upstream("first", first.URL(), nil)
	w.upstream("second", second.URL(), func(s *meta.UpstreamSettings) { s.AllowClaimed = []string{"library/*"} })
	w.chain(meta.Member{Upstream: "first"}, meta.Member{Registry: "prod"}, meta.Member{Upstream: "second"})
	path, tags := manyTags(first, 300)
	more := []string{"t0100-a", "t0200-a"}
	second.PushManifest("library/long", second.Image.Manifest, append(more, "t0250")...)
	for _, up := range []*testserver.Scripted{first, second} {
		up.PageTags(testserver.TagPages{Most: 50, NeedLast: true})
	}
	all := slices.Concat(tags, more)
	slices.Sort(all)
	for _, n := range []int{7, 100} {
		if got := w.tags(path, n); !slices.Equal(got, all) {
			t.Errorf("by %d: %d tags, want %d", n, len(got), len(all))
		}
	}
	if n := first.Count("", "*"); n != 6 {
		t.Errorf("%d requests for 6 pages", n)
	}
	w.push(w.prod, "library/long", "t0100-b", ocitest.NewImage(80, 100)) // the name is claimed from now on
	if got := w.tags(path+"?last=t0100-b", 100); !slices.Equal(got, []string{"t0200-a", "t0250"}) {
		t.Errorf("after a tag of prod: %v", got)
	}
}

// TestT12_WhatWasRead of a list is not asked for again after a page that failed. It is if
// the upstream does not continue there, once.
func TestT12_WhatWasRead(t *testing.T) {
	for _, c := range []struct {
		status, times int // of page 5
		first         int // status of the first request
		requests      int
	}{
		{http.StatusServiceUnavailable, 1, http.StatusBadGateway, 6 + 5},
		{http.StatusNotFound, 1, http.StatusOK, 6 + 10},
		{http.StatusBadRequest, 1, http.StatusOK, 6 + 10},
		{http.StatusBadRequest, 2, http.StatusBadGateway, 6 + 6 + 5},
	} {
		asked, failures := 0, 0 // one request at a time
		hub := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked++
			page, _ := strconv.Atoi(r.FormValue("page"))
			if page == 5 && failures < c.times {
				failures++
				rw.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
				rw.WriteHeader(c.status)
				return
			}
			if page < 9 {
				rw.Header().Set("Link", fmt.Sprintf(`<%s?page=%d>; rel="next"`, r.URL.Path, page+1))
			}
			_ = json.NewEncoder(rw).Encode(map[string]any{"tags": []string{fmt.Sprintf("t%d", 9-page)}}) // the client may be gone
		}))
		t.Cleanup(hub.Close)
		for _, ttl := range []time.Duration{tagTTL, 0} {
			asked, failures = 0, 0
			w := newWorld(t)
			w.upstream("hub", hub.URL, func(s *meta.UpstreamSettings) { s.TagTTL = ttl })
			w.chain(meta.Member{Upstream: "hub"})
			path := "/v2/library/long/tags/list?n=3"
			if a := w.get(path); a.Status != c.first {
				t.Errorf("%+v: %d %s", c, a.Status, a.Body)
			}
			if c.first != http.StatusOK {
				if a := w.get(path); a.Status != http.StatusOK || strings.Join(tagsIn([]byte(a.Body)), " ") != "t0 t1 t2" {
					t.Errorf("%+v, again: %d %s", c, a.Status, a.Body)
				}
			}
			if asked != c.requests {
				t.Errorf("%+v, tag_ttl %v: %d requests", c, ttl, asked)
			}
		}
	}
}

// TestT12_ALongListAtAnotherURL: a list that breaks off at one URL of the upstream is read
// from the start at the next, which may order it in another way.
func TestT12_ALongListAtAnotherURL(t *testing.T) {
	second := testserver.StartScripted(t)
	path, tags := manyTags(second, 300)
	second.PageTags(testserver.TagPages{Most: 100, Order: func(a, b string) int { return strings.Compare(b, a) }})
	first := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.FormValue("page") != "" {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		rw.Header().Set("Link", "<"+r.URL.Path+`?page=2>; rel="next"`)
		_ = json.NewEncoder(rw).Encode(map[string]any{"tags": tags[:100]}) // the client may be gone
	}))
	t.Cleanup(first.Close)
	w := newWorld(t)
	w.upstream("hub", first.URL, func(s *meta.UpstreamSettings) { s.Alternatives = []meta.UpstreamTarget{{URL: second.URL()}} })
	w.chain(meta.Member{Upstream: "hub"})
	if got := w.tags(path, 150); !slices.Equal(got, tags) {
		t.Errorf("%d tags, want %d", len(got), len(tags))
	}
}

// TestT12_ManyClients ask for each page once.
func TestT12_ManyClients(t *testing.T) {
	w, up := newHub(t)
	path, tags := manyTags(up, 500)
	up.PageTags(testserver.TagPages{Most: 100, Order: func(a, b string) int { return strings.Compare(b, a) }})
	up.SetLatency(10 * time.Millisecond)
	together(50, func(i int) {
		after := tags[i*len(tags)/50]
		a := w.get(path + "?n=2&last=" + after)
		if got := tagsIn([]byte(a.Body)); a.Status != http.StatusOK || len(got) != 2 || got[0] != tags[i*len(tags)/50+1] {
			t.Errorf("after %s: %d %s", after, a.Status, a.Body)
		}
	})
	if n := up.Count("", "*"); n > 50+5+1 {
		t.Errorf("%d requests", n)
	}
}
