// Package front stands before every operation of the data port: it finds out
// which registry a request is for and who the caller is, decides rights before
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
)

// Config is what a front asks of others.
type Config struct {
	Sites    Sites
	Tokens   Tokens
	Accounts Accounts
	Log      *slog.Logger    // failures of Berth; refusals are in the access log only
	Turns    *Turns          // of tenants; nil: all are served at once
	Origins  web.Origins     // of web pages that may use the registry
	Refusals *audit.Refusals // counts calls that accounts have no right to; nil: nothing is
	Calls    *CallLimit      // bounds those at work; nil: nothing does
}

// Sites finds where a Host header leads; *tenant.Directory does.
type Sites interface {
	// Resolve returns fault.HostUnknown, with one and the same message, for
	// every host that leads nowhere.
	Resolve(ctx context.Context, hostHeader string) (tenant.Site, error)
}

// Tokens verifies bearer tokens; *access.Verifier does.
type Tokens interface {
	// Verify returns what the token says if it is good at the site now. Every
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
//	           and that has no more calls at work than it may
//	pages      web pages of origins that are not named may ask nothing
//	router     by path, through authentication, to a service
//
// Rights are decided behind it, by the Access middleware of each operation.
func New(c Config, s Services) http.Handler {
	return admission{c, newPages(c.Origins, router{c, s})}
}
