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

// tagPage is how many tags a page requests; upstreams may return fewer.
const tagPage = 1000

// fewTags is a page size that no upstream refuses.
const fewTags = 100

// AllTags lists the tags of a repository (distribution-spec, "Listing Tags"), in
// the upstream's order, without invalid entries. More than limit are an Outage: a
// truncated list would look complete.
func (c *Client) AllTags(ctx context.Context, name string, limit int) ([]string, error) {
	return anywhere(ctx, c, func(c *Client) ([]string, error) { return c.allTags(ctx, name, limit) })
}

func (c *Client) allTags(ctx context.Context, name string, limit int) ([]string, error) {
	if err := oci.CheckName(name); err != nil {
		return nil, err
	}
	tags, err := c.tagsBy(ctx, name, limit, tagPage)
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusRequestEntityTooLarge {
		// Quay's response to a page that is too large.
		return c.tagsBy(ctx, name, limit, fewTags)
	}
	return tags, err
}

// tagsBy reads all pages, with page tags each.
func (c *Client) tagsBy(ctx context.Context, name string, limit, page int) ([]string, error) {
	p := pages{client: c, budget: maxList, next: url.Values{"n": {strconv.Itoa(page)}}.Encode(), rq: request{
		method: http.MethodGet, name: name, path: "tags/list", accept: "application/json",
		missing: fault.NameUnknown, limit: maxTagPage,
	}}
	var all []string
	for p.more() {
		err := p.fetchNext(ctx, func(a answer) error {
			tags, err := parseTags(a.body)
			if err != nil {
				return c.outage(err, "sent an invalid list of tags")
			}
			if all = append(all, tags...); len(all) > limit {
				return c.outage(nil, "has more than %d tags in a repository", limit)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
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
