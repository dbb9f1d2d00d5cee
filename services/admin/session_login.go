package admin

import (
	"context"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// How many logins by password are checked at a time, and wait per address and for how long:
// fewer than a tenant's turn in package password holds, so that no queue tells which tenants
// there are.
const (
	loginsAtOnce  = 4
	loginsWaiting = 16
	loginWait     = 10 * time.Second
)

// maxLogin is the longest body of a login in bytes.
const maxLogin = 8 << 10

// loginBody is the body of a login: an account of a tenant, or a token that says by itself
// whose it is.
type loginBody struct {
	Tenant   string `json:"tenant"`
	Login    string `json:"login"`
	Password string `json:"password"` // or an access token, or a key
	Token    string `json:"token"`    // of an operator, or of an account
}

// login answers POST /v1/sessions: it makes a session and sets its cookie.
func (g gate) login(w http.ResponseWriter, r *http.Request) {
	setPrivateHeaders(w)
	web.SetRoute(r.Context(), "CreateSession")
	web.SetScope(r.Context(), adminScope)
	cookie, made, err := g.makeSession(w, r)
	if err != nil {
		writeStatus(w, r, 0, toStatus(r.Context(), g.log, err))
		return
	}
	http.SetCookie(w, cookie)
	g.writeSession(w, r, made)
}

func (g gate) makeSession(w http.ResponseWriter, r *http.Request) (*http.Cookie, meta.Session, error) {
	name, err := cookieName(r) // first: without a cookie to set, no secret is compared
	if err != nil {
		return nil, meta.Session{}, err
	}
	if crossOrigin.Check(r) != nil {
		return nil, meta.Session{}, web.ErrForeignPage()
	}
	var body loginBody
	if err := readLogin(w, r, &body, `{"tenant": …, "login": …, "password": …} or {"token": …}`); err != nil {
		return nil, meta.Session{}, err
	}
	c, err := g.callerOfLogin(r, body)
	if err != nil {
		return nil, meta.Session{}, err
	}
	web.SetPrincipal(r.Context(), c.actor())
	if err := g.service.countChangeOf(r.Context(), c); err != nil {
		return nil, meta.Session{}, err
	}
	secret, made, err := g.service.createSession(r.Context(), c)
	return sessionCookie(name, secret, int(meta.SessionLife.Seconds())), made, err
}

// callerOfLogin finds whose login it is.
func (g gate) callerOfLogin(r *http.Request, body loginBody) (caller, error) {
	ctx := r.Context()
	byName := body.Tenant != "" || body.Login != "" || body.Password != ""
	if byName == (body.Token != "") {
		return caller{}, fault.New(fault.Invalid, fault.RequestInvalid, "a login has tenant, login and password, or a token alone")
	}
	if byName {
		return g.service.callerByPassword(ctx, body)
	}
	c, err := g.service.callerByBearer(ctx, body.Token)
	if fault.KindOf(err) == fault.Unauthenticated {
		web.SetLoginFailed(ctx, web.WrongCredential, "")
		g.loginFailed(ctx, restListener, web.ClientAddr(ctx), web.UserAgent(ctx))
	}
	return c, err
}

// callerByPassword logs an account in. A tenant that does not exist, or is suspended, gets the
// same answer as an unknown account, at the same cost. disable_password_login is about clients
// of registries: here people log in to make access tokens for those.
func (s *Service) callerByPassword(ctx context.Context, body loginBody) (caller, error) {
	site := tenant.Site{Tenant: tenant.Unknown(body.Tenant)}
	if tenant.CheckSlug(body.Tenant) == nil {
		t, err := s.store.FindTenant(ctx, body.Tenant)
		switch {
		case err == nil && t.State == tenant.Active: // a suspended one must not reach its identity providers
			site.Tenant = t.ID
		case err == nil:
		case !fault.Is(err, fault.ResourceUnknown):
			return caller{}, err
		}
	}
	if s.logins == nil {
		return caller{}, fault.New(fault.Unsupported, fault.UnsupportedReason, "browsers log in with tokens here")
	}
	from := web.ClientAddr(ctx)
	if err := s.turns.AcquireWithin(ctx, from, 1, loginWait); err != nil {
		busy := fault.Wrap(err, fault.Unavailable, fault.Busy, "too many logins wait to be checked; retry later, or log in with a token")
		return caller{}, busy.WithRetryAfter(loginWait)
	}
	defer s.turns.Release(from, 1)
	p, err := s.logins.AuthenticateAtAnyTenant(ctx, site, body.Login, body.Password)
	return caller{principal: p}, err
}

// createSession makes a session of the caller, and returns its secret.
func (s *Service) createSession(ctx context.Context, c caller) (string, meta.Session, error) {
	prefix, key := sessionPrefix, c.principal.Key
	if c.operator {
		prefix, key = operatorSessionPrefix, c.token
	}
	secret := newSecret(prefix)
	m := meta.Session{
		SessionOwner: c.owner(), Name: newName(), Hash: sha256.Sum256([]byte(secret)), Key: key,
		UserAgent: web.UserAgent(ctx), CreatedFrom: web.AddrText(web.ClientAddr(ctx)),
	}
	err := s.store.CreateSession(ctx, sessionCause(ctx, c, "", m.Name), m, c.principal.Epoch)
	if fault.Is(err, fault.ResourceUnknown) {
		err = fault.Wrap(err, fault.Unauthenticated, fault.UnauthorizedReason, "the account was modified during the login; log in again")
	}
	if err != nil {
		return "", meta.Session{}, err
	}
	made, err := s.sessionNamed(ctx, m.SessionOwner, m.Name)
	return secret, made, err
}

// sessionCause is the cause of a change of the caller's own sessions.
func sessionCause(ctx context.Context, c caller, before, after string) meta.Cause {
	return meta.Cause{
		Op: uuid.New(), Actor: c.actor(), RequestID: web.RequestID(ctx), Address: web.AddrText(web.ClientAddr(ctx)), UserAgent: web.UserAgent(ctx),
		Changes: []meta.Change{{Field: "session", Old: before, New: after}}, Session: c.session,
	}
}
