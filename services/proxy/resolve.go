package proxy

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Resolve finds a manifest as a pull would, by a caller who is logged in or one who
// is not, and tells who was asked and what each said. That nobody has it is an account, too, and no error.
func (s *Service) Resolve(ctx context.Context, id tenant.ID, tenantSlug, registry, name string, ref oci.Reference, anonymous bool) (chain.Account, error) {
	account := chain.Account{Name: name, Reference: ref.String(), Winner: -1}
	ctx, asked, err := s.follow(ctx, Ask{Tenant: id, TenantSlug: tenantSlug, Registry: registry, Name: name, Anonymous: anonymous})
	if err != nil {
		return account, err
	}
	note := func(m *chain.Member, v Manifest, err error) {
		account.Answers = append(account.Answers, answerOf(m, v, err))
	}
	own := &chain.Member{Name: "registries/" + registry, Registry: asked.chain.Registries[0]}
	m, err := s.meta.FindManifest(ctx, meta.Repo{Tenant: id, Registry: own.Registry, Name: name}, ref)
	note(own, Manifest{Manifest: m}, ours(err))
	if err != nil && fault.KindOf(err) == fault.NotFound {
		_, err = s.manifest(ctx, asked, ref, note)
	}
	account.Outcome = outcomeOf(err)
	if err == nil {
		account.Winner = len(account.Answers) - 1
	}
	return account, nil
}

// answerOf is what a member said, for people.
func answerOf(m *chain.Member, v Manifest, err error) chain.Answer {
	a := chain.Answer{Member: m.Name, Outcome: outcomeOf(err)}
	var skipped errSkipped
	switch {
	case err == nil && m.Upstream != nil && !m.Upstream.Settings.ServesAnonymous():
		a.Detail = "for callers who are logged in: " + withheld.why
		fallthrough
	case err == nil:
		a.Digest, a.Cached, a.Stale, a.CheckedAt = v.Digest.String(), v.Cached, v.Stale, v.CheckedAt
	case errors.As(err, &skipped):
		a.Detail = skipped.why
	case errors.Is(err, errLogin):
		a.Detail = withheld.why
	case a.Outcome == chain.NotHere:
	default:
		a.Detail = fault.From(err).Message
	}
	return a
}

// CheckAddress says whether an upstream at the URL may be connected to, as
// upstream.Clients does.
func (s *Service) CheckAddress(ctx context.Context, tenantSlug, url string) error {
	return s.clients.CheckAddress(ctx, tenantSlug, url)
}

// Refresh asks an upstream for what it says of a tag now, whatever is kept.
func (s *Service) Refresh(ctx context.Context, tenantSlug string, u meta.Upstream, name string, ref oci.Reference) (chain.Answer, error) {
	m := chain.Alone(&u)
	if !chain.Offers(&u, name) {
		return answerOf(&m, Manifest{}, errNotOffered), nil
	}
	r, err := s.at(&m, Ask{Tenant: u.Tenant, TenantSlug: tenantSlug}, name)
	if err != nil {
		return chain.Answer{}, err
	}
	var v Manifest
	if ref.Digest != "" {
		r.absent.drop(r.key("manifest " + ref.String()))
		v, err = r.fetchManifest(ctx, ref)
	} else {
		r.absent.drop(r.key("tag " + ref.Tag))
		v, err = r.askTag(ctx, ref.Tag, s.now())
	}
	if errors.Is(err, errOurs) {
		return chain.Answer{}, err
	}
	return answerOf(&m, v, err), nil
}
