package admin

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Paths of logins at issuers.
const (
	loginPath     = "/v1/login"
	callbacksPath = web.CallbacksPath // with the ID of a provider
)

// loginLife is how long a login at an issuer may take.
const loginLife = 10 * time.Minute

// Issuers log in people at OpenID Connect issuers; see package people.
type Issuers interface {
	Find(ctx context.Context, t tenant.ID, provider string) (int64, error)
	Begin(ctx context.Context, t tenant.ID, provider int64, f oidclogin.Flow) (string, error)
	Finish(ctx context.Context, t tenant.ID, provider int64, f oidclogin.Flow, code, iss string, life time.Duration) (access.Principal, error)

	FindOnly(ctx context.Context, t tenant.ID) (int64, error)
	BeginDevice(ctx context.Context, t tenant.ID, provider int64) (oidclogin.Device, error)
	FinishDevice(ctx context.Context, t tenant.ID, provider int64, id, code string, life time.Duration) (access.Principal, error)
}

// beginLogin sends a browser to the issuer.
func (g gate) beginLogin(w http.ResponseWriter, r *http.Request) error {
	if _, err := cookieName(r); err != nil {
		return err
	}
	query, err := single(r, "tenant", "provider", "return")
	if err != nil {
		return err
	}
	if at := g.service.loginURL; at != "" && at != baseURL(r) {
		http.Redirect(w, r, at+loginPath+"?"+query.Encode(), http.StatusSeeOther)
		return nil
	}
	if !isLocalPath(query.Get("return")) {
		return fault.New(fault.Invalid, fault.RequestInvalid, "return is a path at this host, such as /").WithField("return")
	}
	ctx := r.Context()
	t, err := g.service.tenantOfLogin(ctx, query.Get("tenant"))
	if err != nil {
		return err
	}
	provider, err := g.service.issuers.Find(ctx, t.ID, query.Get("provider"))
	if err != nil {
		return err
	}
	if fromAnotherSite(r) {
		return askFirst(w, t.Slug, query)
	}
	leave, err := g.service.enterIssuer(ctx, provider)
	if err != nil {
		return err
	}
	defer leave()
	state := loginState{
		Tenant: t.Slug, TenantID: t.ID, Provider: provider, Return: query.Get("return"), Ends: time.Now().Add(loginLife),
		Flow: oidclogin.Flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Redirect: baseURL(r) + callbackPath(provider)},
	}
	at, err := g.service.issuers.Begin(ctx, t.ID, provider, state.Flow)
	if err != nil {
		return err
	}
	cookie, err := g.service.sealLogin(r, state)
	if err != nil {
		return err
	}
	http.SetCookie(w, cookie)
	http.Redirect(w, r, at, http.StatusSeeOther)
	return nil
}

// tenantOfLogin finds an active tenant. Others read as one that has no such provider.
func (s *Service) tenantOfLogin(ctx context.Context, slug string) (meta.Tenant, error) {
	unknown := fault.New(fault.NotFound, fault.ResourceUnknown, "the tenant has no such identity provider of the kind OIDC")
	if tenant.CheckSlug(slug) != nil {
		return meta.Tenant{}, unknown
	}
	t, err := s.store.FindTenant(ctx, slug)
	if err == nil && t.State != tenant.Active || fault.Is(err, fault.ResourceUnknown) {
		return meta.Tenant{}, unknown
	}
	return t, err
}

// finishLogin takes a browser back from the issuer, and makes a session.
func (g gate) finishLogin(w http.ResponseWriter, r *http.Request) error {
	session, err := cookieName(r)
	if err != nil {
		return err
	}
	query, err := single(r, "state", "code", "iss", "error")
	if err != nil {
		return err
	}
	state, err := g.service.openLogin(r, query.Get("state"))
	if err != nil {
		return err
	}
	http.SetCookie(w, loginCookie(r, "", -1))
	p, err := g.service.finishLogin(r.Context(), state, query)
	if err != nil {
		return err
	}
	web.SetPrincipal(r.Context(), p.Name)
	c := caller{principal: p}
	if err := g.service.countChangeOf(r.Context(), c); err != nil {
		return err
	}
	secret, _, err := g.service.createSession(r.Context(), c)
	if err != nil {
		return err
	}
	http.SetCookie(w, sessionCookie(session, secret, int(meta.SessionLife.Seconds())))
	setPageHeaders(w)
	return loggedIn.Execute(w, struct{ Name, Return string }{p.Name, state.Return})
}

func (s *Service) finishLogin(ctx context.Context, state loginState, query url.Values) (access.Principal, error) {
	switch said := query.Get("error"); {
	case said != "":
		return access.Principal{}, fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "the identity provider refuses the login: %q", clipped(said))
	case query.Get("code") == "":
		return access.Principal{}, fault.New(fault.Invalid, fault.RequestInvalid, "code is missing").WithField("code")
	}
	t, err := s.tenantOfLogin(ctx, state.Tenant)
	if err != nil {
		return access.Principal{}, err
	}
	if t.ID != state.TenantID {
		return access.Principal{}, loginEnded("the tenant is another one now")
	}
	return s.counted(ctx, t.ID, func() (access.Principal, error) {
		leave, err := s.enterIssuer(ctx, state.Provider)
		if err != nil {
			return access.Principal{}, err
		}
		defer leave()
		return s.issuers.Finish(ctx, t.ID, state.Provider, state.Flow, query.Get("code"), query.Get("iss"), time.Until(state.Ends))
	})
}

// callbackPath is where the issuer of a provider sends browsers back to, and no other one may: an
// issuer that sends a person on to another one must not get that one's code (RFC 9700, section 4.4).
func callbackPath(provider int64) string {
	return callbacksPath + strconv.FormatInt(provider, 10)
}

// baseURL is this API as the browser asks it. The listener has checked the host.
func baseURL(r *http.Request) string {
	return web.Scheme(r.Context()) + "://" + strings.ToLower(r.Host)
}

// single are parameters of the query, each of which is there at most once.
func single(r *http.Request, names ...string) (url.Values, error) {
	all, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.RequestInvalid, "the query is not well-formed")
	}
	found := url.Values{}
	for _, name := range names {
		if len(all[name]) > 1 {
			return nil, fault.New(fault.Invalid, fault.RequestInvalid, "%s is there more than once", name).WithField(name)
		}
		if all.Has(name) {
			found.Set(name, all.Get(name))
		}
	}
	return found, nil
}

// isLocalPath reports whether a browser that goes there stays at this host.
func isLocalPath(path string) bool {
	const longest = 500
	if path == "" {
		return true
	}
	u, err := url.Parse(path)
	return err == nil && len(path) <= longest && u.Scheme == "" && u.Host == "" && u.Opaque == "" && path[0] == '/' &&
		!strings.HasPrefix(path, "//") && !strings.ContainsFunc(path, func(r rune) bool { return r == '\\' || r <= ' ' || r == 0x7f })
}
