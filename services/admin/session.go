package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// What secrets of sessions begin with: those of operators are looked up as such alone.
const (
	sessionPrefix         = secretPrefix + "session_"
	operatorSessionPrefix = secretPrefix + "operator_session_"
)

// The cookies of sessions. A browser takes the first only by TLS, for this host alone.
const (
	secureCookie   = "__Host-berth-session"
	loopbackCookie = "berth-session"
)

// cookieName is the name of the cookie for requests that come as this one does. Over plain
// HTTP anyone on the network could read the cookie, so sessions need TLS unless client and
// server are on one machine.
func cookieName(r *http.Request) (string, error) {
	switch {
	case web.Scheme(r.Context()) == "https":
		return secureCookie, nil
	case withinMachine(r):
		return loopbackCookie, nil
	default:
		return "", fault.New(fault.Denied, fault.DeniedReason,
			"sessions need TLS, unless the browser is on the machine of the server: set admin_tls_certs and use https, or open the server as localhost there")
	}
}

// withinMachine reports whether both ends of the connection, the client and the host that the
// client named are this machine. A proxy on it must be one of trusted_proxies, which say who the
// client is.
func withinMachine(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !isLoopback(local.String()) || !isLoopback(r.RemoteAddr) {
		return false
	}
	if client := web.ClientAddr(r.Context()); client.IsValid() && !client.IsLoopback() {
		return false
	}
	host := web.HostOnly(r.Host)
	at, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && at.Unmap().IsLoopback()
}

func isLoopback(address string) bool {
	at, err := netip.ParseAddrPort(address)
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// sessionCookie is the cookie of a session; a negative maxAge takes it from the browser.
func sessionCookie(name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", Secure: name == secureCookie, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: maxAge,
	}
}

// crossOrigin refuses what pages of other origins change with a browser's cookie. A second
// wall behind web.Operators, in case a handler is served without it.
var crossOrigin = http.NewCrossOriginProtection()

// callerOfRequest authenticates a REST request: by its Authorization header or, without one,
// by the cookie of a session.
func (g gate) callerOfRequest(r *http.Request) (caller, error) {
	credential := r.Header.Values("Authorization")
	if len(credential) > 0 || len(r.CookiesNamed(secureCookie))+len(r.CookiesNamed(loopbackCookie)) == 0 {
		return g.service.authenticate(r.Context(), credential)
	}
	name, err := cookieName(r)
	if err != nil {
		return caller{}, err
	}
	sent := r.CookiesNamed(name)
	if len(sent) != 1 {
		return caller{}, unauthenticated("the request needs one cookie " + name)
	}
	if crossOrigin.Check(r) != nil {
		return caller{}, web.ErrForeignPage()
	}
	return g.service.callerBySession(r.Context(), sent[0].Value)
}

// callerBySession finds whose session it is, with the rights of this moment.
func (s *Service) callerBySession(ctx context.Context, secret string) (caller, error) {
	c, found, err := s.findSession(ctx, secret)
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		return caller{}, unauthenticated("the session has ended; log in again")
	case err != nil:
		return caller{}, err
	}
	c.session = found.Name
	if time.Since(found.LastUsedAt) >= meta.SessionUse {
		_ = s.store.UseSession(ctx, found, web.AddrText(web.ClientAddr(ctx))) // only the last use is lost
	}
	return c, nil
}

func (s *Service) findSession(ctx context.Context, secret string) (caller, meta.Session, error) {
	hash := sha256.Sum256([]byte(secret))
	if !strings.HasPrefix(secret, operatorSessionPrefix) {
		l, found, err := s.store.FindAccountSession(ctx, hash)
		return caller{principal: l.Principal()}, found, err
	}
	found, err := s.store.FindOperatorSession(ctx, hash)
	if err == nil && found.Account == 0 && found.Key != s.operatorKey() {
		err = fault.New(fault.NotFound, fault.ResourceUnknown, "the operator token is another one now")
	}
	c := caller{operator: true, id: found.Account}
	if found.Account != 0 {
		c.name = strings.TrimPrefix(found.Actor, meta.OperatorName(""))
	}
	return c, found, err
}

// operatorKey names the present operator token of the configuration, and does not show it: a
// session that was made with another one has ended.
func (s *Service) operatorKey() string {
	const enough = 16
	sum := sha256.Sum256(s.operator[:])
	return hex.EncodeToString(sum[:])[:enough]
}

// owner is whose sessions the caller's are.
func (c caller) owner() meta.SessionOwner {
	if c.operator {
		return meta.SessionOwner{Tenant: meta.Deployment, Account: c.id, Actor: c.actor()}
	}
	return meta.SessionOwner{Tenant: c.principal.Tenant, Account: c.principal.ID, Actor: c.principal.Name}
}
