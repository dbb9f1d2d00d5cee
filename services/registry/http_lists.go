package registry

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

// decodePage reads n and last (distribution-spec, "Listing Tags").
func decodePage(c *front.Call) (meta.Page, error) {
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
	h.Set("Link", ocihttp.NextLink(c.Route.Path(), q))
}

func decodeListTags(ctx context.Context, _ *http.Request) (ListTags, error) {
	c := front.CallOf(ctx)
	p, err := decodePage(c)
	return ListTags{Repo: c.Repo(), Page: p}, err
}

func encodeTags(ctx context.Context, w http.ResponseWriter, n Names) error {
	return encodeNames(ctx, w, n, struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{front.CallOf(ctx).Route.Name, n.Names})
}

func decodeListRepositories(ctx context.Context, _ *http.Request) (ListRepositories, error) {
	c := front.CallOf(ctx)
	p, err := decodePage(c)
	return ListRepositories{Tenant: c.Site.Tenant, Registry: c.Site.Registry, Page: p}, err
}

func encodeCatalog(ctx context.Context, w http.ResponseWriter, n Names) error {
	return encodeNames(ctx, w, n, struct {
		Repositories []string `json:"repositories"`
	}{n.Names})
}

// encodeNames uses a package that writes a list of none as [], not null.
func encodeNames(ctx context.Context, w http.ResponseWriter, n Names, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if n.More && len(n.Names) > 0 {
		linkNext(ctx, w.Header(), n.Names[len(n.Names)-1], nil)
	}
	w.Header().Set("Content-Type", "application/json")
	kit.ServeBytes(ctx, w, b)
	return nil
}
