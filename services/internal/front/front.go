// Package front runs before every operation of the data port: it finds the
// registry of a request and its caller, decides rights before
// anything is looked up, and hands each path to its service.
package front

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/audit"
	"github.com/berth-registry/berth/services/internal/usage"
)

// Config are the dependencies of a front.
type Config struct {
	Sites    Sites
	Tokens   Tokens
	Accounts Accounts
	Policies *access.Policies
	Log      *slog.Logger    // failures of Berth; refusals are in the access log only
	Turns    *Turns          // of tenants; nil: no turns
	Origins  web.Origins     // of web pages that may use the registry
	Refusals *audit.Refusals // counts calls that accounts have no right to; nil: nothing is
	Mirrors  *audit.Mirrors  // counts uses of mirror hosts; nil: nothing is
	Calls    *CallLimit      // limits running calls; nil: no limit
	Rates    *Rates          // limits what is used within a second; nil: no limit
	Pulls    *audit.Pulls    // is told of pulls; nil: nothing is
	Usage    *usage.Counters // count what tenants use; nil: nothing is
}

// Sites finds the site of a Host header; *tenant.Directory does.
type Sites interface {
	// Resolve returns fault.HostUnknown, with one and the same message, for
	// every unknown host.
	Resolve(ctx context.Context, hostHeader string) (tenant.Site, error)
}

// Tokens verifies bearer tokens; *access.Verifier does.
type Tokens interface {
	// Verify returns the claims of a token that is valid at the site now. Every
	// error is about the token and of kind Unauthenticated.
	Verify(token string, s tenant.Site) (access.Claims, error)
}

// Accounts checks a name and a secret.
type Accounts interface {
	// Authenticate returns the principal; kind Unauthenticated, always with the
	// same message and at the same cost, if no account has that name and secret.
	Authenticate(ctx context.Context, site tenant.Site, name, secret string) (access.Principal, error)
}

// Services are the handlers behind the front. Each finds the Call of its
// request with CallOf.
type Services struct {
	Registry http.Handler // all of /v2/ but uploads, and not /v2/ itself
	Upload   http.Handler // …/blobs/uploads/…
	Proxy    http.Handler // pulls of what upstreams have: names under proxy/, and requests with ns
	Token    http.Handler // TokenPath and KeysPath: authenticates for itself
}

// New puts the front before the services. A request passes, in this order:
//
//	admission  one host, known, agreeing with TLS, of a tenant that is not suspended,
//	           and that is below its limits of requests a second and of calls
//	pages      web pages of unlisted origins are refused
//	router     by path, through authentication, to a service
//
// Rights are decided behind it, by the Access middleware of each operation.
func New(c Config, s Services) http.Handler {
	return admission{c, newPages(c.Origins, router{c, s})}
}
