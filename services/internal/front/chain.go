package front

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/tenant"
)

// MayPush says whether the account may push to the repository now, whatever the
// token carries: clients look for blobs with a pull-only token, and then push with
// another one.
func (c *Call) MayPush() bool {
	return c.Rights.Allowed(c.Route.Name).Has(access.Push)
}

// MayFill says whether the caller may have content fetched from upstreams.
func (c *Call) MayFill() bool {
	if c.Site.IsMirror() {
		return !c.Site.Mirror.CachedOnly
	}
	return c.Rights.Allowed(c.Route.Name).Has(access.Fill)
}

// CheckChain returns nil where other members of the chain may answer for what the
// registry does not host, else the answer to the client: notHere, unless there is more
// to say. A request that came through too many registries ends here: their chains lead
// back to one another (contract row E12). A push must not be answered by other members:
// a client does not upload what a HEAD says is there, and few say by then that they are
// pushing.
//
//   - Without a credential, a HEAD is refused with a challenge: the token that the
//     client gets says what the HEAD is about.
//   - A token that was asked to carry push, granted or not, sees hosted content. An account
//     that may not push gets the reason by the request that follows: a HEAD has no body for it,
//     and few clients show a header.
//   - So does an account that may push, except for a HEAD of a manifest with a token
//     for pull alone: that is a pull.
func (c *Call) CheckChain(method string, notHere error) error {
	push := access.Repository(c.Route.Name, access.Push)
	switch {
	case c.Hops > ocihttp.MaxHops:
		return fault.New(fault.BadUpstream, fault.UnavailableReason,
			"the request passed through more than %d registries; an upstream of one of them leads back to it", ocihttp.MaxHops)
	case c.Upstream != "", c.Site.IsMirror(), method != http.MethodHead, !c.isContent():
		return nil
	case c.claims == nil && c.Principal.Anonymous():
		return &challenge{
			error: fault.New(fault.Unauthenticated, fault.UnauthorizedReason,
				"the content is not in this registry; request a token to pull through its upstream group"),
			scope: access.Repository(c.Route.Name, access.Pull),
		}
	case c.claims != nil && c.claims.Requested(push).Has(access.Push):
		if c.Principal.Anonymous() {
			return cmp.Or(c.require(push), notHere)
		}
		return notHere
	case c.claims != nil && c.Route.Kind == ocihttp.Manifest, !c.MayPush():
		return nil
	default:
		return notHere
	}
}

// isContent says whether the call is for a manifest or a blob.
func (c *Call) isContent() bool {
	return c.Route.Kind == ocihttp.Manifest || c.Route.Kind == ocihttp.Blob
}

var (
	errNoManifest = fault.New(fault.NotFound, fault.ManifestUnknown, "the manifest is not in this registry")
	errNoBlob     = fault.New(fault.NotFound, fault.BlobUnknown, "the blob is not in this registry")
)

// BeforeProxy puts CheckChain before the proxy service, for requests that reach it past
// the registry service.
func BeforeProxy(proxy http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, notHere := CallOf(r.Context()), errNoManifest
		if c.Route.Kind == ocihttp.Blob {
			notHere = errNoBlob
		}
		if err := c.CheckChain(r.Method, notHere); err != nil {
			WriteError(w, r, err)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// upstreamPrefix begins the names of what other registries have:
// proxy/<host or alias>/<name>. "proxy" alone is a name like any other.
const upstreamPrefix = "proxy/"

// proxyService is what a Remote calls the service that Services.Proxy is.
const proxyService = "proxy"

// namespace is the registry that a client names to a mirror, by the parameter ns or
// by the header of the same meaning. It is empty where that is the registry which is
// asked, under whichever of its names. What has another port than the one that serves
// it is another server, as is common on loopback; proxies before this one may have
// taken the port away.
func (c Config) namespace(r *http.Request, call *Call) (string, error) {
	if call.Route.Name == "" {
		return "", nil
	}
	ns, err := ocihttp.ParseNamespace(call.Query, r.Header)
	if err != nil || ns == "" {
		return "", err
	}
	named, own := &url.URL{Host: ns}, &url.URL{Host: r.Host}
	if named.Port() != "" && own.Port() != "" && named.Port() != own.Port() {
		return ns, nil
	}
	site, err := c.Sites.Resolve(r.Context(), ns)
	switch {
	case fault.Is(err, fault.HostUnknown):
		return ns, nil
	case err != nil:
		return "", err
	case site.Tenant == call.Site.Tenant && site.Registry == call.Site.Registry:
		return "", nil
	default:
		return ns, nil
	}
}

// resolveTarget decides by namespace and name whether the call is for an upstream, and
// refuses operations of hosted repositories there. It uses only the call.
//
// containerd adds ns to each request, also where the mirror's path names the upstream.
// The path decides then, as rights are about the name in it; the proxy service refuses
// a namespace of another upstream (contract row T60). proxy/<name> without a third
// component is not such a path.
func (c *Call) resolveTarget(method, namespace string) error {
	c.Name, c.requested, c.namespace = c.Route.Name, c.Route.Name, namespace
	rest, below := strings.CutPrefix(c.Route.Name, upstreamPrefix)
	host, name, _ := strings.Cut(rest, "/")
	switch {
	case below && (namespace == "" || name != ""):
		c.Upstream, c.Name = host, name
	case namespace != "":
		c.Upstream = namespace
		c.Route.Name = upstreamPrefix + namespace + "/" + c.Name
		if len(c.Route.Name) > oci.MaxName {
			return fault.New(fault.Invalid, fault.NameInvalid, "%s/%s is too long for the name of a repository", namespace, c.Name)
		}
	case c.Site.Mirror.Upstream != "":
		c.Upstream = c.Site.Mirror.Upstream
		c.Route.Name = upstreamPrefix + c.Upstream + "/" + c.Name
	default:
		return nil
	}
	switch {
	case tenant.RedactMirrors(c.Upstream) != c.Upstream: // a secret, which no answer repeats
		return fault.New(fault.NotFound, fault.NameUnknown, "the upstream is not found in this registry")
	case !c.isPull(method):
		return fault.New(fault.Denied, fault.DeniedReason, "this content belongs to another registry: it can be pulled here, but not pushed or deleted")
	case c.Name == "":
		return fault.New(fault.Invalid, fault.NameInvalid, "content of an upstream is named %s<host or alias>/<name>", upstreamPrefix)
	default:
		return nil
	}
}

// isPull says whether the call is a part of a pull.
func (c *Call) isPull(method string) bool {
	switch c.Route.Kind {
	case ocihttp.Manifest, ocihttp.Blob, ocihttp.Tags, ocihttp.Referrers:
		return method == http.MethodGet || method == http.MethodHead
	default:
		return false
	}
}

// RequestedName is the name of the repository as it stands in the path of the request,
// to which a namespace adds nothing.
func (c *Call) RequestedName() string { return c.requested }

// Namespace is the registry that the client named besides the path; empty for none, or
// for this registry.
func (c *Call) Namespace() string { return c.namespace }

// NextLink is the value of the Link header that leads to the page of the list
// with that query, as the client asked for the list.
func (c *Call) NextLink(q url.Values) string {
	route := c.Route
	route.Name = c.RequestedName()
	if c.namespace != "" {
		q.Set("ns", c.namespace)
	}
	return ocihttp.NextLink(route.Path(), q)
}
