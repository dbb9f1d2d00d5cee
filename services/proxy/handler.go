package proxy

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/respond"
)

// rules says who may do what. An operation that is missing here does not start.
var rules = map[string]front.Rule{
	"ProxyManifest":  front.Needs(access.Pull),
	"ProxyBlob":      front.Needs(access.Pull),
	"ProxyStatBlob":  front.Needs(access.Pull),
	"ProxyTags":      front.Needs(access.Pull),
	"ProxyReferrers": front.Needs(access.Pull),
}

// NewHandler serves the operations over HTTP, behind a front: the pull part of
// the distribution API. mw go around each of them, the first outermost; the rules
// are decided inside.
func NewHandler(s *Service, mw ...kit.Middleware) http.Handler {
	mw = append(slices.Clip(mw), front.Access(rules))
	fail := kit.Errors(writeError)

	manifest := kit.Handler(kit.Wrap("ProxyManifest", s.GetManifest, mw...), decodeManifest, respond.Limited(s.transit, manifestSize, encodeManifest), fail)
	blob := kit.Handler(kit.Wrap("ProxyBlob", s.OpenBlob, mw...), decodeBlob, s.blobs.Send, fail)
	statBlob := kit.Handler(kit.Wrap("ProxyStatBlob", s.StatBlob, mw...), decodeStatBlob, respond.WriteBlobHead, fail)
	tags := kit.Handler(kit.Wrap("ProxyTags", s.ListTags, mw...), decodeTags, respond.Limited(s.transit, respond.NamesSize, respond.WriteTags), fail)
	referrers := kit.Handler(kit.Wrap("ProxyReferrers", s.ListReferrers, mw...), decodeReferrers, respond.Limited(s.transit, respond.ReferrersSize, respond.WriteReferrers), fail)

	return front.Endpoints{
		ocihttp.Manifest:  {http.MethodGet: manifest, http.MethodHead: manifest},
		ocihttp.Blob:      {http.MethodGet: blob, http.MethodHead: statBlob},
		ocihttp.Tags:      {http.MethodGet: tags, http.MethodHead: tags},
		ocihttp.Referrers: {http.MethodGet: referrers, http.MethodHead: referrers},
	}
}

func askOf(c *front.Call) Ask {
	return Ask{
		Tenant: c.Site.Tenant, TenantSlug: c.Site.TenantSlug, Registry: c.Site.RegistrySlug,
		Upstream: c.Upstream, Name: c.Name, Hops: c.Hops,
		Member:    c.Principal.Tenant == c.Site.Tenant && c.Principal.Role.Actions().Has(access.Pull),
		Anonymous: c.Principal.Anonymous(),
	}
}

func decodeManifest(ctx context.Context, _ *http.Request) (GetManifest, error) {
	c := front.CallOf(ctx)
	return GetManifest{askOf(c), c.Route.Reference}, nil
}

// encodeManifest says of content that is older than it should be that it is (RFC
// 7234, section 5.5.1), and how old.
func encodeManifest(ctx context.Context, w http.ResponseWriter, m Manifest) error {
	if m.Stale {
		w.Header().Set("Warning", `110 - "Response is Stale"`)
		w.Header().Set("Age", strconv.FormatInt(int64(m.Age.Seconds()), 10))
	}
	return respond.WriteManifest(ctx, w, m.Manifest)
}

func decodeBlob(ctx context.Context, r *http.Request) (OpenBlob, error) {
	c := front.CallOf(ctx)
	return OpenBlob{NameBlob: NameBlob{askOf(c), c.Route.Digest}, Redirect: c.Site.Settings.RedirectBlobs, Range: r.Header.Get("Range")}, nil
}

func decodeStatBlob(ctx context.Context, _ *http.Request) (NameBlob, error) {
	c := front.CallOf(ctx)
	return NameBlob{askOf(c), c.Route.Digest}, nil
}

func decodeTags(ctx context.Context, _ *http.Request) (ListTags, error) {
	c := front.CallOf(ctx)
	p, err := respond.Page(c)
	return ListTags{askOf(c), p}, err
}

func decodeReferrers(ctx context.Context, _ *http.Request) (ListReferrers, error) {
	c := front.CallOf(ctx)
	artifactType, p, err := respond.ReferrersPage(c)
	return ListReferrers{askOf(c), c.Route.Digest, artifactType, p}, err
}
