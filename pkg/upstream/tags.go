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

// tagPage is how many tags are asked for at a time; upstreams may give fewer.
const tagPage = 1000

// fewTags is what no upstream refuses to list at a time.
const fewTags = 100

// Tags lists tags of a repository after last (distribution-spec, "Listing
// Tags"): at least n of them if the upstream has as many, in its own order.
// Upstreams may give more, and some do not heed last: Quay's older versions page
// by a key of their own. Entries that no tag can be are left out.
func (c *Client) Tags(ctx context.Context, name, last string, n int) ([]string, error) {
	tags, _, err := c.tags(ctx, name, last, max(n, 1))
	return tags, err
}

// AllTags lists all tags of a repository, in the upstream's order. More than
// limit are an Outage: a list that ends early would be taken for the whole.
func (c *Client) AllTags(ctx context.Context, name string, limit int) ([]string, error) {
	tags, more, err := c.tags(ctx, name, "", limit)
	if err == nil && (more || len(tags) > limit) {
		return nil, c.outage(nil, "has more than %d tags in a repository", limit)
	}
	return tags, err
}

// tags goes from page to page until there are n; more says that there are
// further pages.
func (c *Client) tags(ctx context.Context, name, last string, n int) ([]string, bool, error) {
	if err := oci.CheckName(name); err != nil {
		return nil, false, err
	}
	all, more, err := c.tagsBy(ctx, name, last, n, min(n, tagPage))
	var e *Error
	if n > fewTags && errors.As(err, &e) && e.Status == http.StatusRequestEntityTooLarge {
		// Quay says so when it is asked for more at a time than it likes.
		return c.tagsBy(ctx, name, last, n, fewTags)
	}
	return all, more, err
}

func (c *Client) tagsBy(ctx context.Context, name, last string, n, page int) ([]string, bool, error) {
	q := url.Values{"n": {strconv.Itoa(page)}}
	if last != "" {
		q.Set("last", last)
	}
	p := pages{client: c, budget: maxTagList, next: q.Encode(), rq: request{
		method: http.MethodGet, name: name, path: "tags/list", accept: "application/json",
		missing: fault.NameUnknown, limit: maxTagPage,
	}}
	var all []string
	for p.more() && len(all) < n {
		err := p.turn(ctx, func(a answer) error {
			tags, err := parseTags(a.body)
			if err != nil {
				return c.outage(err, "sent a list of tags that is none")
			}
			all = append(all, tags...)
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	return all, p.more(), nil
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
