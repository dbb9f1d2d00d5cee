package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/people"
)

const (
	defaultGroupsMaxAge = 12 * time.Hour
	minGroupsMaxAge     = 5 * time.Minute
	maxGroupsMaxAge     = 30 * 24 * time.Hour

	fieldOIDC         = fieldProvider + "oidc."
	fieldClientSecret = fieldOIDC + "client_secret"
)

// configureOIDC reads the settings of an issuer, and returns its sealed secret.
func (s *Service) configureOIDC(was meta.IdentityProvider, is *meta.ProviderSettings, m *pb.IdentityProvider_Oidc) ([]byte, error) {
	o := meta.OIDCSettings{
		Issuer: m.GetIssuer(), ClientID: m.GetClientId(), Scopes: slices.Clone(m.GetScopes()), Username: m.GetUsernameClaim(), Groups: m.GetGroupsClaim(),
		GroupsMaxAge: defaultGroupsMaxAge,
	}
	if age := m.GetGroupsMaxAge(); age != nil {
		if o.GroupsMaxAge = age.AsDuration(); age.CheckValid() != nil || o.GroupsMaxAge < minGroupsMaxAge || o.GroupsMaxAge > maxGroupsMaxAge {
			return nil, invalid(fieldOIDC+"groups_max_age", "%s is out of range: from %s to %s", age.AsDuration(), minGroupsMaxAge, maxGroupsMaxAge)
		}
	}
	if err := people.OIDCSettings(o, "").Check(); err != nil {
		f := fault.From(err)
		return nil, f.WithField(fieldOIDC + f.Field)
	}
	before := was.Settings.OIDC
	if before != nil && before.Issuer != o.Issuer { // the same sub of another issuer is another person
		return nil, invalid(fieldOIDC+"issuer", "the issuer of an identity provider stays: make another provider")
	}
	is.OIDC = &o
	return s.clientSecret(was, o, m.GetClientSecret())
}

// clientSecret is what is kept of a secret, or the one that is kept already.
func (s *Service) clientSecret(was meta.IdentityProvider, is meta.OIDCSettings, given string) ([]byte, error) {
	kept := len(was.Secret) > 0 && (given == unchangedSecret || given == "")
	if given == unchangedSecret {
		given = ""
	}
	switch {
	case kept && was.Settings.OIDC.ClientID != is.ClientID:
		return nil, invalid(fieldClientSecret, "it was given for another client_id: give it together with this")
	case kept:
		return was.Secret, nil
	case given == "":
		return nil, nil
	case len(given) > maxPassword || strings.ContainsFunc(given, isControl):
		return nil, invalid(fieldClientSecret, "a secret has at most %d bytes, and no control characters", maxPassword)
	case s.secrets.Empty():
		return nil, invalid(fieldClientSecret, "this deployment has no key to keep secrets with: its operator must set secret_key_file")
	default:
		return s.secrets.Seal(given, was.SecretName())
	}
}

// checkProviderIssuer refuses an issuer of a tenant that leads to where upstreams must not lead.
func checkProviderIssuer(ctx context.Context, check func(ctx context.Context, tenantSlug, proxy, url string) error, tenantSlug string, is meta.OIDCSettings) error {
	err := issuerAddress(ctx, check, tenantSlug, is.Issuer)
	if f := fault.From(err); f != nil && f.Kind == fault.Invalid {
		return f.WithField(fieldOIDC + "issuer")
	}
	return err
}

// oidcMessage shows all but the secret.
func (s *Service) oidcMessage(p meta.IdentityProvider) *pb.IdentityProvider_Oidc {
	is := p.Settings.OIDC
	if is == nil {
		return nil
	}
	redirect := ""
	if p.ID != 0 { // else it was only validated
		redirect = s.loginURL + callbackPath(p.ID)
	}
	return &pb.IdentityProvider_Oidc{
		Issuer: is.Issuer, ClientId: is.ClientID, ClientSecretSet: len(p.Secret) > 0, Scopes: is.Scopes,
		UsernameClaim: is.Username, GroupsClaim: is.Groups, GroupsMaxAge: durationpb.New(is.GroupsMaxAge), RedirectUri: redirect,
	}
}
