package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/respond"
)

// NewHandler serves the operations over HTTP, behind a front. In a registry with a
// group, proxy serves the lists and content that is not hosted; it checks rights
// itself. mw go around each operation, the first outermost.
func NewHandler(s *Service, proxy http.Handler, mw ...kit.Middleware) http.Handler {
	e := newEndpoints(s, mw)
	fail := kit.Errors(front.WriteError)

	getManifest := fallbackToProxy(proxy, e.getManifest, decodeGetManifest, respond.Limited(s.budget, respond.ManifestSize, respond.WriteManifest))
	deleteManifest := kit.Handler(e.deleteManifest, decodeDeleteManifest, encodeAccepted, fail)
	deleteTag := kit.Handler(e.deleteTag, decodeDeleteTag, encodeAccepted, fail)
	listTags := kit.Handler(e.listTags, decodeListTags, respond.Limited(s.budget, respond.NamesSize, respond.WriteTags), fail)
	listReferrers := kit.Handler(e.listReferrers, decodeListReferrers, respond.Limited(s.budget, respond.ReferrersSize, respond.WriteReferrers), fail)
	listRepositories := kit.Handler(e.listRepositories, decodeListRepositories, respond.Limited(s.budget, respond.NamesSize, respond.WriteCatalog), fail)

	return front.Endpoints{
		ocihttp.Manifest: {
			http.MethodGet:    getManifest,
			http.MethodHead:   getManifest,
			http.MethodPut:    kit.Handler(e.putManifest, decodePutManifest, encodePutManifest, fail),
			http.MethodDelete: byReference(deleteManifest, deleteTag),
		},
		ocihttp.Blob: {
			http.MethodGet:    fallbackToProxy(proxy, e.openBlob, decodeOpenBlob, s.blobs.Send),
			http.MethodHead:   fallbackToProxy(proxy, e.statBlob, decodeStatBlob, respond.WriteBlobHead),
			http.MethodDelete: kit.Handler(e.deleteBlob, decodeDeleteBlob, encodeAccepted, fail),
		},
		ocihttp.Tags:      readOnly(proxiedList(proxy, listTags)),
		ocihttp.Referrers: readOnly(proxiedList(proxy, listReferrers)),
		ocihttp.Catalog:   readOnly(listRepositories),
		ocihttp.Search:    readOnly(kit.Handler(e.search, decodeSearch, encodeSearch, fail)),
	}
}

func readOnly(h http.Handler) front.Methods {
	return front.Methods{http.MethodGet: h, http.MethodHead: h}
}

// byReference picks the handler of a DELETE: deleting a manifest and deleting a tag
// are two operations (distribution-spec, "Content Management").
func byReference(digest, tag http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if front.CallOf(r.Context()).Route.Reference.Digest != "" {
			digest.ServeHTTP(w, r)
		} else {
			tag.ServeHTTP(w, r)
		}
	})
}

func decodeGetManifest(ctx context.Context, _ *http.Request) (GetManifestRequest, error) {
	c := front.CallOf(ctx)
	return GetManifestRequest{Repo: c.Repo(), Reference: c.Route.Reference, Registry: c.Site.RegistrySlug, PullRules: c.Site.PullRules}, nil
}

// decodePutManifest reads more tags from the query
// (distribution-spec main, "Pushing Manifests", tag parameters).
func decodePutManifest(ctx context.Context, r *http.Request) (PutManifestRequest, error) {
	c := front.CallOf(ctx)
	tags := slices.Compact(slices.Sorted(slices.Values(c.Query["tag"])))
	for _, tag := range tags {
		if err := oci.CheckTag(tag); err != nil {
			return PutManifestRequest{}, err
		}
	}
	adoptFor := ""
	if mayAdopt(c) {
		adoptFor = c.Site.RegistrySlug
	}
	return PutManifestRequest{
		Repo:                   c.Repo(),
		Reference:              c.Route.Reference,
		Tags:                   tags,
		ContentType:            r.Header.Get("Content-Type"),
		Body:                   r.Body,
		Length:                 r.ContentLength,
		AllowMissingReferences: c.Site.Settings.AllowMissingReferences,
		AdoptFor:               adoptFor,
		Caller:                 chain.CallerOf(&c.Rights, c.Route.Name),
		By:                     c.Cause(ctx),
	}, ocihttp.CheckContentEncoding(r)
}

func encodePutManifest(_ context.Context, w http.ResponseWriter, s PutManifestResponse) error {
	h := w.Header()
	h.Set("Location", ocihttp.Route{Kind: ocihttp.Manifest, Name: s.Repo.Name, Reference: oci.Reference{Digest: s.Digest}}.Path())
	h.Set("Docker-Content-Digest", s.Digest.String())
	for _, tag := range s.Tags {
		h.Add("OCI-Tag", tag)
	}
	if s.Subject != "" {
		h.Set("OCI-Subject", s.Subject.String())
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// decodeDeleteManifest reads "force=true", which deletes a manifest that an index
// still names.
func decodeDeleteManifest(ctx context.Context, _ *http.Request) (DeleteManifestRequest, error) {
	c := front.CallOf(ctx)
	force := false
	if value := c.Query.Get("force"); value != "" {
		var err error
		if force, err = strconv.ParseBool(value); err != nil {
			return DeleteManifestRequest{}, fault.New(fault.Invalid, fault.RequestInvalid, "force is true or false, not %q", value).WithField("force")
		}
	}
	return DeleteManifestRequest{
		Repo:      c.Repo(),
		Digest:    c.Route.Reference.Digest,
		By:        c.Cause(ctx),
		Referrers: c.Site.Settings.DeleteReferrers,
		Force:     force,
	}, nil
}

func decodeDeleteTag(ctx context.Context, _ *http.Request) (DeleteTagRequest, error) {
	c := front.CallOf(ctx)
	return DeleteTagRequest{Repo: c.Repo(), Tag: c.Route.Reference.Tag, By: c.Cause(ctx)}, nil
}

// encodeAccepted answers a deletion.
func encodeAccepted(_ context.Context, w http.ResponseWriter, _ kit.Empty) error {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func blobRefOf(c *front.Call) BlobRef { return BlobRef{Repo: c.Repo(), Digest: c.Route.Digest} }

func decodeOpenBlob(ctx context.Context, r *http.Request) (OpenBlobRequest, error) {
	c := front.CallOf(ctx)
	return OpenBlobRequest{BlobRef: blobRefOf(c), Redirect: c.Site.Settings.RedirectBlobs, Range: r.Header.Get("Range")}, nil
}

func decodeStatBlob(ctx context.Context, _ *http.Request) (StatBlobRequest, error) {
	c := front.CallOf(ctx)
	return StatBlobRequest{BlobRef: blobRefOf(c), MayPush: c.MayPush()}, nil
}

func decodeDeleteBlob(ctx context.Context, _ *http.Request) (DeleteBlobRequest, error) {
	c := front.CallOf(ctx)
	return DeleteBlobRequest{BlobRef: blobRefOf(c), By: c.Cause(ctx)}, nil
}

func decodeListTags(ctx context.Context, _ *http.Request) (ListTagsRequest, error) {
	c := front.CallOf(ctx)
	p, err := respond.Page(c)
	return ListTagsRequest{Repo: c.Repo(), Page: p}, err
}

func decodeListRepositories(ctx context.Context, _ *http.Request) (ListRepositoriesRequest, error) {
	c := front.CallOf(ctx)
	p, err := respond.Page(c)
	return ListRepositoriesRequest{Tenant: c.Site.Tenant, Registry: c.Site.Registry, Page: p, Rights: &c.Rights}, err
}

// decodeSearch reads the text and, as n, how many results are wanted.
func decodeSearch(ctx context.Context, _ *http.Request) (SearchRequest, error) {
	c := front.CallOf(ctx)
	req := SearchRequest{Tenant: c.Site.Tenant, Registry: c.Site.RegistrySlug, Text: c.Query.Get("q"), Size: defaultSearch, Rights: &c.Rights}
	if n := c.Query.Get("n"); n != "" {
		size, err := strconv.Atoi(n)
		if err != nil || size < 1 || size > mostSearchResults {
			return req, fault.New(fault.Invalid, fault.RequestInvalid, "n is between 1 and %d", mostSearchResults)
		}
		req.Size = size
	}
	if len(req.Text) > meta.LongestSearchTerm {
		return req, fault.New(fault.Invalid, fault.RequestInvalid, "q is longer than %d bytes", meta.LongestSearchTerm)
	}
	return req, nil
}

// searchResult is one of Docker's registry API of version 1. Nothing here has stars.
type searchResult struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	IsOfficial  bool   `json:"is_official"`
	IsAutomated bool   `json:"is_automated"`
	StarCount   int    `json:"star_count"`
}

func encodeSearch(ctx context.Context, w http.ResponseWriter, s SearchResponse) error {
	results := make([]searchResult, len(s.Repositories))
	for i, name := range s.Repositories {
		results[i].Name = name
	}
	b, err := json.Marshal(struct {
		Query      string         `json:"query"`
		NumResults int            `json:"num_results"`
		Results    []searchResult `json:"results"`
	}{s.Text, len(results), results})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	kit.ServeBytes(ctx, w, append(b, '\n'))
	return nil
}

func decodeListReferrers(ctx context.Context, _ *http.Request) (ListReferrersRequest, error) {
	c := front.CallOf(ctx)
	artifactType, p, err := respond.ReferrersPage(c)
	return ListReferrersRequest{Repo: c.Repo(), Subject: c.Route.Digest, ArtifactType: artifactType, Page: p}, err
}
