package front

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/audit"
)

// Call is what the front knows about one request. It is complete when the
// request reaches a service; /token sees no principal and no route.
type Call struct {
	Site      tenant.Site
	Principal access.Principal
	Rights    access.Rights // of the principal at the site
	Route     ocihttp.Route // with the full name of the repository, which rights are about: proxy/<upstream>/<name>
	Query     url.Values
	Upstream  string // host or alias of the registry that has the content; empty for the names of this one
	Name      string // of the repository: at the upstream, if there is one, else Route.Name
	Hops      int    // how many registries forwarded it before this one; past ocihttp.MaxHops the chain ends

	claims           *access.Claims // nil without a bearer token: rights are the present ones then
	realm            string         // the URL of the token endpoint as the client reaches it
	requested        string         // the name in the path
	namespace        string         // that the client gave, if it is not this registry
	forwardedToProxy bool           // a registry service does not host it and forwarded the call
	internal         bool           // another process took the request in, and logs it as well
	log              *slog.Logger
	refusals         *audit.Refusals // nil: nothing is counted
	rates            *Rates
	egress           []bound // of what is sent for the call
	usage            callUsage
}

type callKey struct{}

// CallOf returns the call of a request that passed the front. It panics for
// one that did not: an operation that does not know its tenant must not run.
func CallOf(ctx context.Context) *Call {
	return ctx.Value(callKey{}).(*Call)
}

// Repo is the repository in the path.
func (c *Call) Repo() meta.Repo {
	return meta.Repo{Tenant: c.Site.Tenant, Registry: c.Site.Registry, Name: c.Route.Name}
}

// Cause makes the cause of one mutation. Call it once per request: its Op is
// what makes a repeated attempt take effect once.
func (c *Call) Cause(ctx context.Context) meta.Cause {
	return meta.Cause{Op: uuid.New(), Actor: c.Principal.Actor(), RequestID: web.RequestID(ctx), Address: web.AddrText(web.ClientAddr(ctx)), UserAgent: web.UserAgent(ctx)}
}

// WriteError answers a request of the data port with err. A challenge becomes
// WWW-Authenticate; a failure of Berth is logged with its cause. The access
// line says why, and what the request needed.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	c, ok := r.Context().Value(callKey{}).(*Call)
	if ok {
		c.setChallenge(w.Header(), err)
		c.logFailure(r, err)
		c.logScope(r, err)
		if fault.KindOf(err) == fault.Denied && !c.Principal.Anonymous() {
			c.refusals.Add(meta.Refusal{
				Tenant: c.Site.Tenant, Actor: c.Principal.Actor(), Address: web.AddrText(web.ClientAddr(r.Context())), UserAgent: web.UserAgent(r.Context()),
				Target: r.Method + " registries/" + c.Site.RegistrySlug + "/repositories/" + c.Route.Name,
			})
		}
		if c.internal {
			addRefusal(w.Header(), err)
		}
	}
	ocihttp.WriteError(w, r, err)
}

func (c *Call) logFailure(r *http.Request, err error) {
	if !fault.KindOf(err).Failure() {
		return
	}
	level := slog.LevelError
	if r.Context().Err() != nil {
		level = slog.LevelDebug // the client left, and what it asked for ended with it
	}
	c.log.Log(r.Context(), level, "the request failed", "error", err)
}

// LogPrincipal says in the access log who sent a request, and which trust let a job in, or which
// token for all tenants a person.
func LogPrincipal(ctx context.Context, p access.Principal) {
	web.SetPrincipal(ctx, p.Actor())
	if trust, ok := access.TrustOf(p.Key); ok {
		web.AddLogAttrs(ctx, slog.String("trust", trust))
	}
	if token, ok := access.PersonTokenOf(p.Key); ok {
		web.AddLogAttrs(ctx, slog.String("person_token", token))
	}
}
