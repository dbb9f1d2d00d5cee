// Package token is the Docker token endpoint: it authenticates the caller and signs
// the granted rights, for one host and a few minutes.
package token

import (
	"context"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
)

// Service has one method per operation.
type Service struct {
	accounts *Authenticator
	tokens   meta.RefreshTokens
	policies *access.Policies
	issuer   *access.Issuer
}

// New makes the service.
func New(accounts *Authenticator, tokens meta.RefreshTokens, policies *access.Policies, issuer *access.Issuer) *Service {
	return &Service{accounts: accounts, tokens: tokens, policies: policies, issuer: issuer}
}

// IssueTokenRequest asks for a token.
type IssueTokenRequest struct {
	Site       tenant.Site
	Service    string   // the registry's name at the client; empty, or the site's host
	Scopes     []string // values of the scope parameters, in the grammar of access.ParseScopes
	Credential *Credential
	Refresh    string // a refresh token in place of Credential
	Offline    bool   // the client wants a refresh token
	NotForKeys bool   // but not in place of a key
	Client     string // its name for itself
}

// Credential is a name and its secret.
type Credential struct{ Name, Secret string }

// String keeps the secret out of logs and dumps.
func (c Credential) String() string { return c.Name + ":[redacted]" }

// GoString is String.
func (c Credential) GoString() string { return c.String() }

// IssueTokenResponse is the token in the form clients read (Docker registry token
// specification, "Token Response Fields").
type IssueTokenResponse struct {
	Token       string    `json:"token"`
	AccessToken string    `json:"access_token"` // the same; OAuth 2 clients look here
	ExpiresIn   int       `json:"expires_in"`   // seconds
	IssuedAt    time.Time `json:"issued_at"`
	Scope       string    `json:"scope"` // what was granted (RFC 6749, section 5.1)

	RefreshToken string `json:"refresh_token,omitempty"`
}

// IssueToken signs the scopes that the caller is granted. Anonymous callers get a
// token with the anonymous rights. Where the tenant's access rules are remembered, that needs
// no store, so that public pulls continue during its outage (contract row B14).
//
// Granting less than requested is not an error: Scope has the granted scopes. A service
// other than the host is fault.RequestInvalid; for credentials see
// Authenticator.Authenticate.
func (s *Service) IssueToken(ctx context.Context, req IssueTokenRequest) (IssueTokenResponse, error) {
	if req.Service != "" && req.Service != req.Site.Host {
		return IssueTokenResponse{}, fault.New(fault.Invalid, fault.RequestInvalid, "service must be %q, the host that was asked", req.Site.Host).WithField("service")
	}
	web.SetScope(ctx, strings.Join(req.Scopes, " "))
	p, err := s.authenticate(ctx, req)
	if err != nil {
		return IssueTokenResponse{}, err
	}
	front.LogPrincipal(ctx, p)
	rights, err := s.policies.Rights(ctx, &req.Site, p, web.ClientAddr(ctx))
	if err != nil {
		return IssueTokenResponse{}, err
	}
	t, err := s.issuer.Issue(&rights, access.ParseScopes(req.Scopes))
	if err != nil {
		return IssueTokenResponse{}, err
	}
	refresh, err := s.refreshToken(ctx, req, p)
	if err != nil {
		return IssueTokenResponse{}, err
	}
	granted := make([]string, len(t.Granted))
	for i, scope := range t.Granted {
		granted[i] = scope.String()
	}
	return IssueTokenResponse{
		Token: t.Raw, AccessToken: t.Raw,
		ExpiresIn: int(t.Life / time.Second),
		IssuedAt:  t.IssuedAt.UTC().Truncate(time.Second),
		Scope:     strings.Join(granted, " "),

		RefreshToken: refresh,
	}, nil
}

// authenticate finds the caller of a request.
func (s *Service) authenticate(ctx context.Context, req IssueTokenRequest) (access.Principal, error) {
	switch {
	case req.Refresh != "":
		return s.refresh(ctx, req.Site, req.Refresh)
	case req.Credential != nil:
		return s.accounts.Authenticate(ctx, req.Site, req.Credential.Name, req.Credential.Secret)
	default:
		return access.Principal{}, nil
	}
}

// ListKeysRequest asks for the keys.
type ListKeysRequest struct{}

// ListKeys returns the keys that tokens can be verified with.
func (s *Service) ListKeys(context.Context, ListKeysRequest) (access.JWKS, error) {
	return s.issuer.JWKS(), nil
}
