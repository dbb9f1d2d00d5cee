package token

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// RefreshLife is how long a refresh token lasts after its last use.
const RefreshLife = 90 * 24 * time.Hour

// refreshPrefix begins refresh tokens. Nothing else takes them: not Basic authorization, and
// not the admin API.
const refreshPrefix = "berth_refresh_"

// longestClient is how much of a client's name for itself is kept.
const longestClient = 100

// refresh returns the account whose refresh token this is. All that is wrong with one is the
// same error, and counts as a failed login from the address.
func (s *Service) refresh(ctx context.Context, site tenant.Site, raw string) (access.Principal, error) {
	from := addressKey(site.Tenant, web.ClientAddr(ctx))
	if err := s.accounts.failures.Check(ctx, from); err != nil {
		s.refreshFailed(ctx, site, web.TooManyFailures)
		return access.Principal{}, err
	}
	login, token, err := s.findRefresh(ctx, site.Tenant, raw)
	switch {
	case err == nil:
		p := login.Principal()
		s.used(ctx, p, token)
		s.accounts.uses.Add(login, web.ClientAddr(ctx))
		return p, nil
	case !fault.Is(err, fault.ResourceUnknown):
		return access.Principal{}, err
	}
	s.refreshFailed(ctx, site, web.WrongCredential)
	if err := s.accounts.failures.Add(ctx, from); err != nil {
		return access.Principal{}, err
	}
	return access.Principal{}, fault.Wrap(err, fault.Invalid, fault.UnauthorizedReason, "the refresh token is not valid: it expired or was ended; log in again")
}

// used notes that a token was used, unless that changes nothing: a write for each token that
// is issued would cost more than the rest of it. Only the last use is lost where it fails.
func (s *Service) used(ctx context.Context, p access.Principal, r meta.RefreshToken) {
	if time.Since(r.LastUsedAt) >= meta.RefreshTokenUse {
		_ = s.tokens.UseRefreshToken(ctx, p, r.Name, web.AddrText(web.ClientAddr(ctx)), RefreshLife)
	}
}

// refreshFailed puts a failure in the access log, a metric and the audit log.
func (s *Service) refreshFailed(ctx context.Context, site tenant.Site, why string) {
	const name = "(refresh token)"
	web.SetLoginFailed(ctx, why, name)
	s.accounts.countRefusal(ctx, site, name)
}

func (s *Service) findRefresh(ctx context.Context, t tenant.ID, raw string) (meta.Login, meta.RefreshToken, error) {
	if !strings.HasPrefix(raw, refreshPrefix) || len(raw) != len(encodeRefresh(nil))+base64.RawURLEncoding.EncodedLen(sha256.Size) {
		return meta.Login{}, meta.RefreshToken{}, fault.New(fault.NotFound, fault.ResourceUnknown, "it is not a refresh token")
	}
	return s.tokens.FindAccountByRefreshToken(ctx, t, sha256.Sum256([]byte(raw)))
}

// refreshToken returns a refresh token for a caller who wants one. It does not change while
// it is used: clients keep the one of their login. Logins of one client with the same key get
// the same one, so that those of a hundred builds do not end it for the machine beside them.
// A password gets another one each time: only a random secret may be what a token is made of.
func (s *Service) refreshToken(ctx context.Context, req IssueTokenRequest, p access.Principal) (string, error) {
	_, job := access.TrustOf(p.Key)              // its own token ends soon, and so do its rights
	_, everywhere := access.PersonTokenOf(p.Key) // it ends in all tenants at once
	switch {
	case !req.Offline, p.Anonymous(), job, everywhere, req.NotForKeys && p.Key != "":
		return "", nil
	case req.Refresh != "":
		return req.Refresh, nil
	}
	client := clientName(req.Client)
	if p.Key != "" {
		known, err := s.tokens.FindRefreshTokenOfKey(ctx, p, client)
		if err == nil {
			raw := derive(req.Credential.Secret, known.Seed)
			if sha256.Sum256([]byte(raw)) == known.Hash {
				s.used(ctx, p, known)
				return raw, nil
			}
		} else if !fault.Is(err, fault.ResourceUnknown) {
			return "", err
		}
	}
	return s.createRefresh(ctx, req, p, client)
}

func (s *Service) createRefresh(ctx context.Context, req IssueTokenRequest, p access.Principal, client string) (string, error) {
	random := make([]byte, sha256.Size)
	_, _ = rand.Read(random) // never fails: crypto/rand
	made := meta.RefreshToken{Name: strings.ToLower(rand.Text()[:12]), Key: p.Key, Client: client, CreatedFrom: web.AddrText(web.ClientAddr(ctx))}
	raw := encodeRefresh(random)
	if p.Key != "" {
		made.Seed, raw = random, derive(req.Credential.Secret, random)
	}
	made.Hash = sha256.Sum256([]byte(raw))
	err := s.tokens.CreateRefreshToken(ctx, p, made, RefreshLife)
	if fault.Is(err, fault.ResourceUnknown) {
		err = fault.Wrap(err, fault.Unauthenticated, fault.UnauthorizedReason, "the account was modified during the login; log in again")
	}
	return raw, err
}

// derive makes the refresh token of a key from the key's secret.
func derive(secret string, seed []byte) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte("refresh token"))
	h.Write(seed)
	return encodeRefresh(h.Sum(nil))
}

func encodeRefresh(b []byte) string { return refreshPrefix + base64.RawURLEncoding.EncodeToString(b) }

// clientName is a client's name for itself as it is kept.
func clientName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	for i := range name {
		if i > longestClient {
			return name[:i]
		}
	}
	return name
}
