package front

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/logs"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/audit"
	"github.com/berth-registry/berth/services/internal/signedcall"
)

// NewInternal serves calls that the fronts of other processes forward: the host is
// known, the caller authenticated. Rights are decided here, as behind New.
// room limits running calls, and rates is told of redirects; nil: no limit. refusals counts what is denied; nil:
// nothing is.
func NewInternal(known *access.Internal, policies *access.Policies, log *slog.Logger, s Services, room *CallLimit, rates *Rates, refusals *audit.Refusals) http.Handler {
	return internal{known, policies, log, s, room, rates, refusals}
}

type internal struct {
	known    *access.Internal
	policies *access.Policies
	log      *slog.Logger
	Services
	room     *CallLimit
	rates    *Rates
	refusals *audit.Refusals
}

func (i internal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	call, err := i.accept(r) // before anything changes the request
	ocihttp.CleanRange(r.Header)
	if err == nil && !isToken(path) { // the token service authenticates the caller, and decides
		err = i.resolve(r.Context(), call, r.Method, path)
	}
	if err == nil {
		call.Query, err = parseQuery(r.URL)
	}
	if err == nil {
		err = i.room.enter(r.Context(), call.Site.Tenant, nil)
	}
	if err != nil {
		if fault.KindOf(err).Failure() {
			i.log.ErrorContext(r.Context(), "a call from another service is refused", "error", err)
		}
		addRefusal(w.Header(), err)
		ocihttp.WriteError(w, r, err)
		return
	}
	defer i.room.leave(call.Site.Tenant, nil)
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, call))
	web.AddLogAttrs(r.Context(), slog.String("tenant", call.Site.TenantSlug), slog.String("registry", call.Site.RegistrySlug))
	if isToken(path) {
		i.serveToken(w, r)
		return
	}
	LogPrincipal(r.Context(), call.Principal)
	i.rates.observe(r.Context(), call)
	web.SetRoute(r.Context(), call.Route.Kind.String())
	i.serveRoute(w, r)
}

// resolve finds what a call is about, and the rights of its caller.
func (i internal) resolve(ctx context.Context, call *Call, method, path string) error {
	var err error
	if call.Route, err = ocihttp.ParsePath(path); err != nil {
		return err
	}
	if err := call.resolveTarget(method, call.namespace); err != nil {
		return err
	}
	return call.decideBy(ctx, i.policies)
}

// accept reads the signed call. An invalid one is an outage and not a refusal:
// the client was admitted and must not be told that it has no right.
func (i internal) accept(r *http.Request) (*Call, error) {
	c, err := signedcall.Verify(i.known, r)
	if errors.Is(err, signedcall.ErrUnsigned) {
		return nil, fault.New(fault.Denied, fault.DeniedReason, "this listener is for the services of this deployment")
	}
	if err != nil {
		return nil, fault.Down(err, "a service")
	}
	web.SetForwarded(r.Context(), c.RequestID, c.Client)
	return &Call{
		Site: c.Site, Principal: c.Principal, Hops: c.Hops,
		claims: c.Claims, realm: c.Realm, namespace: c.Namespace, forwardedToProxy: c.Service == proxyService, internal: true, log: i.log, refusals: i.refusals,
	}, nil
}

// refusalHeader carries the reason of an error to the calling process: the body
// says less, and a HEAD has none.
const refusalHeader = "Berth-Internal-Refusal"

// addRefusal adds it to the response to a forwarded call.
func addRefusal(h http.Header, err error) {
	why := ocihttp.RefusalOf(err)
	why.Detail = logs.Clip(why.Detail)
	if text, err := json.Marshal(why); err == nil {
		h.Set(refusalHeader, string(text))
	}
}

// takeRefusal moves it from the response to the access log of this process.
func takeRefusal(answer *http.Response) {
	text := answer.Header.Get(refusalHeader)
	answer.Header.Del(refusalHeader)
	if answer.StatusCode < http.StatusBadRequest {
		return
	}
	var why web.Refusal
	if text != "" && json.Unmarshal([]byte(text), &why) == nil {
		web.SetRefusal(answer.Request.Context(), why)
	}
	CallOf(answer.Request.Context()).logScope(answer.Request, nil)
}
