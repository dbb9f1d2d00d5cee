package front

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/rs/cors"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/tenant"
)

// admission admits a request for exactly one known host, and begins its
// Call.
type admission struct {
	Config
	next http.Handler
}

func (a admission) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	ocihttp.CleanRange(r.Header)
	call, err := a.admit(r)
	if err != nil {
		if fault.KindOf(err).Failure() {
			a.Log.ErrorContext(r.Context(), "the host was not resolved", "error", err)
		}
		ocihttp.WriteError(w, r, err)
		return
	}
	call.usage.counter = a.Usage.Of(call.Site.Tenant)
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, call))
	if call.Site.IsMirror() {
		r.Host = call.Site.Host // from here on without the secret
	}
	web.AddLogAttrs(r.Context(), slog.String("tenant", call.Site.TenantSlug), slog.String("registry", call.Site.RegistrySlug))
	if call.Site.Suspended {
		WriteError(w, r, fault.New(fault.Denied, fault.DeniedReason, "this tenant is suspended; the operator of this deployment can resume it"))
		return
	}
	if call.Query, err = parseQuery(r.URL); err != nil {
		WriteError(w, r, err)
		return
	}
	if err := a.Rates.checkTenant(call); err != nil {
		WriteError(w, r, err)
		return
	}
	conn := web.SharedConn(r)
	if err := a.Calls.enter(r.Context(), call.Site.Tenant, conn); err != nil {
		WriteError(w, r, err)
		return
	}
	defer a.Calls.leave(call.Site.Tenant, conn)
	turn, err := a.Turns.begin(r.Context(), call.Site.Tenant)
	if err != nil {
		WriteError(w, r, err)
		return
	}
	defer turn.end()
	r.Body = turn.body(r) // r is a copy, which WithContext made
	a.next.ServeHTTP(w, r)
}

// parseQuery gives token requests more room.
func parseQuery(u *url.URL) (url.Values, error) {
	if isToken(u.EscapedPath()) {
		return ocihttp.ParseTokenQuery(u.RawQuery)
	}
	return ocihttp.ParseQuery(u.RawQuery)
}

func (a admission) admit(r *http.Request) (*Call, error) {
	if err := checkAuthority(r); err != nil {
		return nil, err
	}
	site, err := a.Sites.Resolve(r.Context(), r.Host)
	if err != nil {
		return nil, err
	}
	if site.IsMirror() {
		return a.admitMirror(r, site)
	}
	if err := a.checkServerName(r, site); err != nil {
		return nil, err
	}
	// The host resolved, so it holds nothing that could end the quoted string.
	realm := web.Scheme(r.Context()) + "://" + r.Host + TokenPath
	return &Call{Site: site, Hops: ocihttp.ParseHops(r.Header), realm: realm, log: a.Log, refusals: a.Refusals}, nil
}

// checkAuthority refuses requests that name two hosts (contract row A4).
// net/http takes the host of an absolute request target and drops Host without
// a word, and leaves a Host header beside HTTP/2's :authority unread.
func checkAuthority(r *http.Request) error {
	if !strings.HasPrefix(r.RequestURI, "/") && r.RequestURI != "*" {
		return fault.New(fault.Invalid, fault.RequestInvalid, "the request target must be a path; send the host in Host alone")
	}
	for _, h := range r.Header["Host"] {
		if h != r.Host {
			return fault.New(fault.Invalid, fault.RequestInvalid, "Host and :authority differ")
		}
	}
	return nil
}

// checkServerName holds the name that TLS was set up for against the host: a
// connection serves the tenant it was opened for (contract row A4). Clients
// that connect to an address send no name.
func (a admission) checkServerName(r *http.Request, site tenant.Site) error {
	if r.TLS == nil || r.TLS.ServerName == "" {
		return nil
	}
	named, err := a.Sites.Resolve(r.Context(), r.TLS.ServerName)
	if err != nil && !fault.Is(err, fault.HostUnknown) {
		return err
	}
	if err != nil || named.Tenant != site.Tenant {
		return fault.New(fault.Misdirected, fault.RequestInvalid, "this connection is for another host; open a new one")
	}
	return nil
}

// pages keeps web pages of other origins from using the registry with the rights
// that everybody has where their reader is (contract row S60). Those of named
// origins use it as any other client does, with a credential that they hold
// themselves. Browsers send nothing along on their own: there are no cookies
// here, and credentialed requests are not allowed (contract row A11).
type pages struct {
	origins web.Origins
	cors    http.Handler // for named origins
	next    http.Handler
}

func newPages(origins web.Origins, next http.Handler) http.Handler {
	p := pages{origins: origins, next: next}
	if len(origins) > 0 { // without any, the library would allow all
		p.cors = cors.New(cors.Options{
			AllowedOrigins: origins,
			AllowedMethods: []string{
				http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
			},
			AllowedHeaders: []string{
				"Accept", "Authorization", "Content-Range", "Content-Type", "If-None-Match", ocihttp.HeaderNamespace, "Range",
			},
			ExposedHeaders: []string{
				"Age", "Docker-Content-Digest", "Docker-Distribution-API-Version", "ETag", "Link", "Location", "Range",
				"OCI-Chunk-Min-Length", "OCI-Filters-Applied", "OCI-Namespace", "OCI-Subject", "OCI-Tag", "Retry-After", "Warning", "WWW-Authenticate", "X-Request-Id",
			},
			AllowPrivateNetwork: true, // a named origin is named for this registry, wherever it is
			MaxAge:              3600,
		}).Handler(next)
	}
	return p
}

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.KeepFromPages(w.Header())
	switch {
	case p.cors != nil && p.origins.Named(r):
		p.cors.ServeHTTP(w, r)
	case p.origins.Trusts(r):
		p.next.ServeHTTP(w, r)
	default:
		WriteError(w, r, web.ErrForeignPage())
	}
}
