package front

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

// upstreamPrefix begins the names of what other registries have:
// proxy/<host or alias>/<name>. "proxy" alone is a name like any other.
const upstreamPrefix = "proxy/"

// proxyService is what a Remote calls the service that Services.Proxy is.
const proxyService = "proxy"

// namespace is the registry that the parameter ns tells a mirror to answer for.
// It is empty where that is the registry which is asked, under whichever of its
// names. What has another port than the one that is asked is another server, as
// is common on loopback; proxies before this one may have taken the port away.
func (c Config) namespace(r *http.Request, call *Call) (string, error) {
	if call.Route.Name == "" {
		return "", nil
	}
	ns, err := ocihttp.ParseNamespace(call.Query)
	if err != nil || ns == "" {
		return "", err
	}
	host, port, _ := strings.Cut(ns, ":")
	own := (&url.URL{Host: r.Host}).Port()
	switch {
	case port != "" && own != "" && port != own:
		return ns, nil
	case host == call.Site.Host:
		return "", nil
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

// resolveTarget finds out whether the call is for what an upstream has, by its namespace
// or by its name, and refuses what only hosted repositories can take. It looks
// at nothing but the call.
func (c *Call) resolveTarget(method, namespace string) error {
	c.Name = c.Route.Name
	if namespace != "" {
		c.Upstream, c.namespace = namespace, namespace
		c.Route.Name = upstreamPrefix + namespace + "/" + c.Name
		if len(c.Route.Name) > oci.MaxName {
			return fault.New(fault.Invalid, fault.NameInvalid, "%s/%s is too long for the name of a repository", namespace, c.Name)
		}
	} else if rest, ok := strings.CutPrefix(c.Route.Name, upstreamPrefix); ok {
		c.Upstream, c.Name, _ = strings.Cut(rest, "/")
	}
	switch {
	case c.Upstream == "":
		return nil
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
func (c *Call) RequestedName() string {
	if c.namespace != "" {
		return c.Name
	}
	return c.Route.Name
}

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
