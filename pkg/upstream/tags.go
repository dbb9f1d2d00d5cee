package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// The sizes of a page of tags that are requested; upstreams may return fewer. No upstream
// refuses the small one.
const (
	manyTags = 1000
	fewTags  = 100
)

// TagList is a list of tags that is read page by page, up to a point. It is a value: to
// read a page again, use an old one.
type TagList struct {
	pages       pages
	last        string
	n           int
	limit, read int
	at          *Client // of the URL that the first page is from: another's order may differ
	skip        int     // how many of the upstream's URLs are not asked for the first page
}

// NewTagList is the list of a repository's tags that follow last, in lexical order
// (distribution-spec, "Listing Tags"); all for an empty last. n is how many are wanted at
// first. A list of more than limit is an Outage: a truncated one would look complete.
func NewTagList(last string, n, limit int) TagList {
	l := TagList{last: last, n: fewTags, limit: limit}
	if n > fewTags {
		l.n = manyTags
	}
	l.pages = pages{budget: maxList, next: l.first()}
	return l
}

// first is the query of the first page.
func (l TagList) first() string {
	q := url.Values{"n": {strconv.Itoa(l.n)}}
	if l.last != "" {
		q.Set("last", l.last)
	}
	return q.Encode()
}

// More reports whether the list has another page.
func (l TagList) More() bool { return l.pages.more() }

// Position identifies the next page, among all lists of the repository.
func (l TagList) Position() string { return strconv.Itoa(l.skip) + " " + l.pages.next }

// Tags gets the next page of a list, in the upstream's order and without invalid entries,
// and the list after it.
func (c *Client) Tags(ctx context.Context, name string, l TagList) ([]string, TagList, error) {
	if err := oci.CheckName(name); err != nil {
		return nil, l, err
	}
	type page struct {
		tags []string
		list TagList
	}
	read := func(c *Client) (page, error) {
		tags, next, err := c.tagPage(ctx, name, l)
		return page{tags, next}, err
	}
	if l.at != nil {
		p, err := read(l.at)
		return p.tags, p.list, err
	}
	urls := c.urls()
	skip := min(l.skip, len(urls)-1)
	p, err := inOrder(ctx, urls[skip], urls[skip+1:], read)
	return p.tags, p.list, err
}

// Elsewhere is the whole list from the URLs of the upstream after that of l, which broke
// off. It returns false if that was the last URL.
func (c *Client) Elsewhere(l TagList) (TagList, bool) {
	next := NewTagList("", l.n, l.limit)
	next.skip = slices.Index(c.urls(), l.at) + 1
	return next, l.at != nil && next.skip < len(c.urls())
}

// urls are the clients of all URLs of the upstream.
func (c *Client) urls() []*Client { return append([]*Client{c}, c.others...) }

func (c *Client) tagPage(ctx context.Context, name string, l TagList) ([]string, TagList, error) {
	l.at, l.pages.client, l.pages.rq = c, c, request{
		method: http.MethodGet, name: name, path: "tags/list", accept: "application/json",
		missing: fault.NameUnknown, limit: maxTagPage,
	}
	var tags []string
	read := func() error {
		return l.pages.fetchNext(ctx, func(a answer) error {
			var err error
			if tags, err = parseTags(a.body); err != nil {
				return c.outage(err, "sent an invalid list of tags")
			}
			if l.read += len(tags); l.read > l.limit {
				return c.outage(nil, "has more than %d tags in a repository", l.limit)
			}
			return nil
		})
	}
	err := read()
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusRequestEntityTooLarge && l.n > fewTags && l.pages.count == 0 {
		// Quay's response to a page that is too large.
		l.n = fewTags
		l.pages.next = l.first()
		err = read()
	}
	return tags, l, err
}

// parseTags reads a page of a list of tags.
func parseTags(body []byte) ([]string, error) {
	var list struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Tags, func(t string) bool { return oci.CheckTag(t) != nil }), nil
}
