package respond

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// Page reads n and last (distribution-spec, "Listing Tags").
func Page(c *front.Call) (meta.Page, error) {
	p, err := ocihttp.ParsePage(c.Query)
	return meta.Page{After: p.Last, Size: p.N}, err
}

// linkNext leads to the page after last. A page of no entries leads nowhere.
func linkNext(ctx context.Context, h http.Header, last string, also url.Values) {
	c := front.CallOf(ctx)
	q := url.Values{"last": {last}}
	for key, values := range also {
		q[key] = values
	}
	if c.Query.Has("n") {
		q.Set("n", c.Query.Get("n"))
	}
	h.Set("Link", c.NextLink(q))
}

// NamesResponse is one page of a list in byte order.
type NamesResponse struct {
	Names []string
	More  bool // there are others after the last one
}

// WithLookahead requests one entry beyond the page, which shows whether another page
// follows.
func WithLookahead(p meta.Page) meta.Page {
	p.Size++
	return p
}

// TrimPage is the page of that size from a list that was asked for WithLookahead.
func TrimPage(names []string, size int) NamesResponse {
	if len(names) > size {
		return NamesResponse{Names: names[:size], More: true}
	}
	return NamesResponse{Names: names}
}

// NamesSize is what sending the list takes.
func NamesSize(n NamesResponse) int64 {
	size := int64(0)
	for _, name := range n.Names {
		size += int64(len(name))
	}
	return size
}

// WriteTags writes a page of tags (distribution-spec, "Listing Tags").
func WriteTags(ctx context.Context, w http.ResponseWriter, n NamesResponse) error {
	return names(ctx, w, n, struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{front.CallOf(ctx).RequestedName(), n.Names})
}

// WriteCatalog writes a page of repositories.
func WriteCatalog(ctx context.Context, w http.ResponseWriter, n NamesResponse) error {
	return names(ctx, w, n, struct {
		Repositories []string `json:"repositories"`
	}{n.Names})
}

// names uses a package that writes a list of none as [], not null.
func names(ctx context.Context, w http.ResponseWriter, n NamesResponse, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if n.More && len(n.Names) > 0 {
		linkNext(ctx, w.Header(), n.Names[len(n.Names)-1], nil)
	}
	w.Header().Set("Content-Type", "application/json")
	kit.ServeBytes(ctx, w, append(b, '\n'))
	return nil
}
