package front

import (
	"errors"
	"net/http"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

// authenticate finds the caller: the bearer of a token, an account with its secret
// (Basic is accepted, never challenged for), or an anonymous one.
func (c Config) authenticate(r *http.Request, call *Call) error {
	header := r.Header["Authorization"]
	switch {
	case len(header) == 0:
		return nil
	case len(header) > 1:
		return fault.New(fault.Invalid, fault.RequestInvalid, "Authorization is given more than once")
	}
	scheme, credential, _ := strings.Cut(header[0], " ")
	switch strings.ToLower(scheme) {
	case "bearer":
		claims, err := c.Tokens.Verify(strings.TrimSpace(credential), call.Site)
		if err != nil {
			return asChallenge(r, call, err, "invalid_token")
		}
		call.Principal, call.claims = claims.Principal, &claims
		return nil
	case "basic":
		return c.basic(r, call)
	default:
		return asChallenge(r, call, fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "use Bearer or Basic authorization"), "")
	}
}

func (c Config) basic(r *http.Request, call *Call) error {
	name, secret, ok := r.BasicAuth()
	if !ok {
		return asChallenge(r, call, fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "the Basic authorization is malformed"), "")
	}
	if name == "" && secret == "" {
		return nil // clients without a credential send an empty one
	}
	p, err := c.Accounts.Authenticate(r.Context(), call.Site, name, secret)
	if err != nil {
		return asChallenge(r, call, err, "")
	}
	call.Principal = p
	return nil
}

// asChallenge makes err a challenge if it says that the credential is wrong; an
// outage says nothing about it and passes as it is.
func asChallenge(r *http.Request, call *Call, err error, code string) error {
	if fault.KindOf(err) != fault.Unauthenticated {
		return err
	}
	return &challenge{error: err, scope: routeScope(call.Route, r.Method), code: code}
}

// challenge is a refusal that says which token would do (distribution's token
// specification; RFC 6750 section 3).
type challenge struct {
	error
	scope access.Scope // zero when none is known
	code  string       // invalid_token, insufficient_scope, or empty where no credential was given
}

// Unwrap is the fault that becomes the answer's status and body.
func (c *challenge) Unwrap() error { return c.error }

// setChallenge sets WWW-Authenticate if err is one. service is the host without
// its port: what the token's audience will be.
func (c *Call) setChallenge(h http.Header, err error) {
	var ch *challenge
	if !errors.As(err, &ch) || c.Site.IsMirror() {
		return
	}
	var b strings.Builder
	b.WriteString(`Bearer realm="` + c.realm + `",service="` + c.Site.Host + `"`)
	if ch.scope.Type != "" {
		b.WriteString(`,scope="` + ch.scope.String() + `"`)
	}
	if ch.code != "" {
		b.WriteString(`,error="` + ch.code + `"`)
	}
	h.Set("WWW-Authenticate", b.String())
}

// logScope tells the access line what a request that is answered with err
// needed.
func (c *Call) logScope(r *http.Request, err error) {
	scope := routeScope(c.Route, r.Method)
	var ch *challenge
	if errors.As(err, &ch) && ch.scope.Type != "" {
		scope = ch.scope
	}
	if scope.Type != "" {
		web.SetScope(r.Context(), scope.String())
	}
}

// routeScope is the scope of a request whose credential was refused before its
// operation could say what it needs.
func routeScope(route ocihttp.Route, method string) access.Scope {
	isUpload := route.Kind == ocihttp.UploadStart || route.Kind == ocihttp.Upload
	switch {
	case route.Kind == ocihttp.Catalog, route.Kind == ocihttp.Search:
		return access.Catalog
	case route.Name == "":
		return access.Scope{}
	case isUpload, method == http.MethodPut:
		return withPull(access.Repository(route.Name, access.Push))
	case method == http.MethodDelete:
		return withPull(access.Repository(route.Name, access.Delete))
	default:
		return access.Repository(route.Name, access.Pull)
	}
}

// withPull adds the right to pull: clients look for what is there before they
// write, with the same token.
func withPull(s access.Scope) access.Scope {
	s.Actions |= access.Pull
	return s
}
