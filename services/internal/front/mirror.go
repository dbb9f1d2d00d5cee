package front

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/tenant"
)

// admitMirror begins the call of a mirror host. Any client that knows its name may pull, from its
// networks and until its end; a credential beside it does not count. To others the host is
// unknown; the log says why.
func (a admission) admitMirror(r *http.Request, site tenant.Site) (*Call, error) {
	web.AddLogAttrs(r.Context(), slog.String("mirror_host", site.Mirror.Slug))
	client := web.ClientAddr(r.Context())
	if err := site.Mirror.Admits(client, time.Now()); err != nil {
		web.AddLogAttrs(r.Context(), slog.String("tenant", site.TenantSlug), slog.Bool("mirror_refused", true))
		return nil, err
	}
	if err := a.checkServerName(r, site); err != nil {
		return nil, err
	}
	if !site.Suspended {
		a.Mirrors.Add(site.Tenant, site.Mirror.Slug, client)
	}
	return &Call{Site: site, Principal: access.MirrorHost(site.Mirror.Slug), Hops: ocihttp.ParseHops(r.Header), log: a.Log, refusals: a.Refusals}, nil
}

// mirrorAllows is what a mirror host may do with the resource.
func (c *Call) mirrorAllows(resource access.Scope) access.Actions {
	switch {
	case resource.Type != access.RepositoryType:
		return 0
	case c.Site.Mirror.CachedOnly:
		return access.Pull
	default:
		return access.Pull | access.Fill
	}
}

// serveMirror serves manifests and blobs of what a mirror host answers for. /v2/ is no
// challenge: engines do not log in to mirrors.
func (s router) serveMirror(w http.ResponseWriter, r *http.Request) {
	call, path := CallOf(r.Context()), r.URL.EscapedPath()
	web.SetPrincipal(r.Context(), call.Principal.Actor())
	if strings.HasPrefix(path, "/v2") {
		w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	}
	var err error
	if call.Route, err = ocihttp.ParsePath(path); err != nil {
		WriteError(w, r, err)
		return
	}
	web.SetRoute(r.Context(), call.Route.Kind.String())
	switch {
	case call.Route.Kind == ocihttp.Referrers: // clients then look for a tag
		err = endpointNotFound()
	case call.Route.Kind == ocihttp.Base:
		err = checkRead(w, r)
	case !call.isContent() || r.Method != http.MethodGet && r.Method != http.MethodHead:
		err = fault.New(fault.Denied, fault.DeniedReason, "this host is a mirror: manifests and blobs can be pulled here, and nothing else")
	default:
		err = s.resolveMirror(w, r, call)
	}
	switch {
	case err != nil:
		WriteError(w, r, err)
	case call.Route.Kind == ocihttp.Base:
		writeBase(w, r)
	default:
		if err := s.Rates.admit(r.Context(), call, false); err != nil {
			WriteError(w, r, err)
			return
		}
		call.followSent(r.Context(), r.Method)
		defer call.finishUsage(r)
		if s.Pulls != nil {
			defer s.tellPull(w.Header(), r, call)
		}
		BeforeProxy(s.Proxy).ServeHTTP(w, r)
	}
}

// resolveMirror finds what the call is about, and what its caller may do in registries of
// the group.
func (s router) resolveMirror(w http.ResponseWriter, r *http.Request, call *Call) error {
	namespace, err := s.namespace(r, call)
	if err != nil {
		return err
	}
	if err := call.resolveTarget(r.Method, namespace); err != nil {
		return err
	}
	if namespace != "" {
		w.Header().Set(ocihttp.HeaderNamespace, namespace)
	}
	if call.Upstream != "" {
		web.AddLogAttrs(r.Context(), slog.String("upstream", call.Upstream))
	}
	return call.decideBy(r.Context(), s.Policies)
}
