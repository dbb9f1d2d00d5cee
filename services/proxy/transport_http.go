package proxy

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/proxy/cache"
)

// NewHandler serves the operations over HTTP, behind a front: the pull part of
// the distribution API.
func NewHandler(s *Service, mw ...kit.Middleware) http.Handler {
	e := newEndpoints(s, mw)
	fail := kit.Errors(writeError)

	manifest := kit.Handler(e.manifest, decodeManifest, respond.Limited(s.budget, manifestSize, encodeManifest), fail)
	blob := kit.Handler(e.blob, decodeBlob, s.blobs.Send, fail)
	statBlob := kit.Handler(e.statBlob, decodeStatBlob, respond.WriteBlobHead, fail)
	tags := kit.Handler(e.tags, decodeTags, respond.Limited(s.budget, tagsSize, encodeTags), fail)
	referrers := kit.Handler(e.referrers, decodeReferrers, respond.Limited(s.budget, referrersSize, encodeReferrers), fail)

	return front.Endpoints{
		ocihttp.Manifest:  {http.MethodGet: manifest, http.MethodHead: manifest},
		ocihttp.Blob:      {http.MethodGet: blob, http.MethodHead: statBlob},
		ocihttp.Tags:      {http.MethodGet: tags, http.MethodHead: tags},
		ocihttp.Referrers: {http.MethodGet: referrers, http.MethodHead: referrers},
	}
}

// writeError answers chain.ErrLogin with a challenge, as a private repository.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, chain.ErrLogin) {
		err = front.CallOf(r.Context()).LoginRequired()
	}
	front.WriteError(w, r, err)
}

func pullOf(c *front.Call) PullRequest {
	return PullRequest{
		Tenant: c.Site.Tenant, TenantSlug: c.Site.TenantSlug, Registry: c.Site.RegistrySlug, Mirror: c.Site.Mirror,
		Upstream: c.Upstream, Namespace: c.Namespace(), Name: c.Name, Hops: c.Hops,
		Caller:    chain.CallerOf(&c.Rights, c.Route.Name),
		Anonymous: c.Principal.Anonymous(),
		CacheOnly: !c.MayFill(),
		Requested: c.Repo(),
		PullRules: c.Site.PullRules,
	}
}

func decodeManifest(ctx context.Context, _ *http.Request) (GetManifestRequest, error) {
	c := front.CallOf(ctx)
	return GetManifestRequest{pullOf(c), c.Route.Reference}, nil
}

// manifestSize is the size of m when sent.
func manifestSize(m cache.Manifest) int64 { return respond.ManifestSize(m.Manifest) }

func encodeManifest(ctx context.Context, w http.ResponseWriter, m cache.Manifest) error {
	warn(w.Header(), cache.Freshness{Stale: m.Stale, Age: m.Age})
	if m.Cached {
		front.CallOf(ctx).SetCached(w.Header())
	}
	return respond.WriteManifest(ctx, w, m.Manifest)
}

// warn adds to what is stale a Warning (RFC 7234, section 5.5) and its age.
func warn(h http.Header, f cache.Freshness) {
	if !f.Stale {
		return
	}
	h.Set("Warning", `110 - "Response is Stale"`)
	if f.Incomplete {
		h.Add("Warning", `199 - "an upstream did not answer: the list may be incomplete"`)
		return
	}
	h.Set("Age", strconv.FormatInt(int64(f.Age.Seconds()), 10))
}

func tagsSize(l ListTagsResponse) int64 { return respond.NamesSize(l.NamesResponse) }

func encodeTags(ctx context.Context, w http.ResponseWriter, l ListTagsResponse) error {
	warn(w.Header(), l.Freshness)
	return respond.WriteTags(ctx, w, l.NamesResponse)
}

func referrersSize(l ListReferrersResponse) int64 { return respond.ReferrersSize(l.ReferrersResponse) }

func encodeReferrers(ctx context.Context, w http.ResponseWriter, l ListReferrersResponse) error {
	warn(w.Header(), l.Freshness)
	return respond.WriteReferrers(ctx, w, l.ReferrersResponse)
}

func decodeBlob(ctx context.Context, r *http.Request) (OpenBlobRequest, error) {
	c := front.CallOf(ctx)
	return OpenBlobRequest{StatBlobRequest{pullOf(c), c.Route.Digest}, c.Site.Settings.RedirectBlobs, r.Header.Get("Range")}, nil
}

func decodeStatBlob(ctx context.Context, _ *http.Request) (StatBlobRequest, error) {
	c := front.CallOf(ctx)
	return StatBlobRequest{pullOf(c), c.Route.Digest}, nil
}

func decodeTags(ctx context.Context, _ *http.Request) (ListTagsRequest, error) {
	c := front.CallOf(ctx)
	p, err := respond.Page(c)
	return ListTagsRequest{pullOf(c), p}, err
}

func decodeReferrers(ctx context.Context, _ *http.Request) (ListReferrersRequest, error) {
	c := front.CallOf(ctx)
	artifactType, p, err := respond.ReferrersPage(c)
	return ListReferrersRequest{pullOf(c), c.Route.Digest, artifactType, p}, err
}
