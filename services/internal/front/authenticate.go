package front

import (
	"net/http"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// authenticate finds out who asks: the bearer of a token, an account with its
// secret (Basic is accepted, never challenged for), or nobody.
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
