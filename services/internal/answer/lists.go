package answer

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
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
	h.Set("Link", ocihttp.NextLink(c.Route.Path(), q))
}

// Names is one page of a list in byte order.
type Names struct {
	Names []string
	More  bool // there are others after the last one
}

// OneMore asks for an entry beyond the page: whether it is there says whether
// another page follows.
func OneMore(p meta.Page) meta.Page {
	p.Size++
	return p
}

// PageOf is the page of that size from a list that was asked for OneMore.
func PageOf(names []string, size int) Names {
	if len(names) > size {
		return Names{Names: names[:size], More: true}
	}
	return Names{Names: names}
}

// NamesSize is what sending the list takes.
func NamesSize(n Names) int64 {
	size := int64(0)
	for _, name := range n.Names {
		size += int64(len(name))
	}
	return size
}

// Tags writes a page of tags (distribution-spec, "Listing Tags").
func Tags(ctx context.Context, w http.ResponseWriter, n Names) error {
	return names(ctx, w, n, struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{front.CallOf(ctx).Route.Name, n.Names})
}

// Catalog writes a page of repositories.
func Catalog(ctx context.Context, w http.ResponseWriter, n Names) error {
	return names(ctx, w, n, struct {
		Repositories []string `json:"repositories"`
	}{n.Names})
}

// names uses a package that writes a list of none as [], not null.
func names(ctx context.Context, w http.ResponseWriter, n Names, body any) error {
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

// Referrers is one page of referrers in the order of their digests.
type Referrers struct {
	Descriptors []jsontext.Value // as they stand in the index
	Last        oci.Digest       // of the last descriptor
	More        bool
}

// ReferrersSize is what sending the list takes.
func ReferrersSize(r Referrers) int64 {
	size := int64(0)
	for _, d := range r.Descriptors {
		size += int64(len(d))
	}
	return size
}

// ReferrersPage reads what a list of referrers is asked for: the artifact type,
// empty for all, and the page.
func ReferrersPage(c *front.Call) (string, meta.Page, error) {
	p, err := Page(c)
	if err != nil {
		return "", p, err
	}
	if len(c.Query["artifactType"]) > 1 {
		return "", p, fault.New(fault.Invalid, fault.RequestInvalid, "artifactType is given more than once").WithField("artifactType")
	}
	if p.After != "" {
		// This list is in the order of digests, so nothing else can be its last entry.
		if _, err := oci.ParseDigest(p.After); err != nil {
			return "", p, err
		}
	}
	return c.Query.Get("artifactType"), p, nil
}

// ReferrersIndex writes an image index of the referrers (distribution-spec,
// "Listing Referrers").
func ReferrersIndex(ctx context.Context, w http.ResponseWriter, found Referrers) error {
	b, err := json.Marshal(struct {
		SchemaVersion int              `json:"schemaVersion"`
		MediaType     string           `json:"mediaType"`
		Manifests     []jsontext.Value `json:"manifests"`
	}{2, oci.MediaTypeImageIndex, found.Descriptors})
	if err != nil {
		return err
	}
	h := w.Header()
	filter := url.Values{}
	if t := front.CallOf(ctx).Query.Get("artifactType"); t != "" {
		h.Set("OCI-Filters-Applied", "artifactType")
		filter.Set("artifactType", t)
	}
	if found.More && found.Last != "" {
		linkNext(ctx, h, found.Last.String(), filter)
	}
	h.Set("Content-Type", oci.MediaTypeImageIndex)
	kit.ServeBytes(ctx, w, b)
	return nil
}
