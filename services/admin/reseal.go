package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// Reseal seals passwords of upstreams and identity providers, and secrets of webhooks, again that were sealed with a key from before the present
// one, and says how many. It is for the start of a process, which errors need not
// stop: what they name is as it was.
func (s *Service) Reseal(ctx context.Context) (int, error) {
	ctx = withCaller(ctx, caller{operator: true})
	resealed := 0
	err := s.eachUpstream(ctx, func(name string, u meta.Upstream) error {
		done, err := s.reseal(ctx, u)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if done {
			resealed++
		}
		return nil
	})
	n, failed := s.resealProviders(ctx)
	hooks, failedHooks := s.resealWebhooks(ctx)
	resealed, err = resealed+n+hooks, errors.Join(err, failed, failedHooks)
	if resealed > 0 {
		by := causedBy(ctx, "secrets", "", strconv.Itoa(resealed)+" sealed again")
		err = errors.Join(err, s.store.RecordEvent(ctx, by, meta.SecretsResealed, "secrets"))
	}
	return resealed, err
}

// eachUpstream calls f with every upstream of every tenant. An error does not keep it
// from the others.
func (s *Service) eachUpstream(ctx context.Context, f func(name string, u meta.Upstream) error) error {
	var failed error
	page := meta.Page{Size: largestPage}
	for {
		tenants, err := s.store.ListTenants(ctx, page)
		if err != nil || len(tenants) == 0 {
			return errors.Join(failed, err)
		}
		for _, t := range tenants {
			upstreams, err := s.store.ListUpstreams(ctx, t.ID, meta.Page{Size: largestPage})
			failed = errors.Join(failed, err)
			for _, u := range upstreams {
				failed = errors.Join(failed, f("tenants/"+t.Slug+"/upstreams/"+u.Slug, u))
			}
		}
		page.After = tenants[len(tenants)-1].Slug
	}
}

// reseal says whether secrets of u needed it. Another request that changed u
// meanwhile did it, or deleted it.
func (s *Service) reseal(ctx context.Context, u meta.Upstream) (bool, error) {
	stale := false
	for _, one := range u.Secrets() {
		if !s.secrets.Stale(*one.Value) {
			continue
		}
		secret, err := s.secrets.Open(*one.Value, one.Bound)
		if err != nil {
			return false, err
		}
		if *one.Value, err = s.secrets.Seal(secret, one.Bound); err != nil {
			return false, err
		}
		stale = true
	}
	if !stale {
		return false, nil
	}
	_, err := s.store.UpdateUpstream(ctx, causedBy(ctx, "secrets", "(secret)", "(sealed with another key)"), u, false)
	if fault.Is(err, fault.EtagMismatch) || fault.Is(err, fault.ResourceUnknown) {
		return false, nil
	}
	return err == nil, err
}

// resealProviders is Reseal for identity providers, the operator's and those of tenants.
func (s *Service) resealProviders(ctx context.Context) (int, error) {
	resealed := 0
	failed := s.eachIdentityProvider(ctx, func(p meta.IdentityProvider) error {
		if !s.secrets.Stale(p.Secret) {
			return nil
		}
		secret, err := s.secrets.Open(p.Secret, p.SecretName())
		if err == nil {
			p.Secret, err = s.secrets.Seal(secret, p.SecretName())
		}
		if err == nil {
			_, err = s.store.UpdateIdentityProvider(ctx, causedBy(ctx, "secrets", "(secret)", "(sealed with another key)"), p)
		}
		if err == nil {
			resealed++
		}
		if fault.Is(err, fault.EtagMismatch) || fault.Is(err, fault.ResourceUnknown) {
			return nil // another request changed or deleted it
		}
		return err
	})
	return resealed, failed
}

// eachIdentityProvider is eachUpstream for identity providers.
func (s *Service) eachIdentityProvider(ctx context.Context, f func(meta.IdentityProvider) error) error {
	names, err := s.tenantNames(ctx)
	if err != nil {
		return err
	}
	names[meta.Deployment] = ""
	var failed error
	for owner, name := range names {
		if strings.HasSuffix(name, " (deleted)") {
			continue
		}
		found, err := s.store.ListIdentityProviders(ctx, owner, meta.Page{Size: largestPage})
		failed = errors.Join(failed, err)
		for _, p := range found {
			if err := f(p); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", providerName(meta.Tenant{Slug: strings.TrimPrefix(name, "tenants/")}, p), err))
			}
		}
	}
	return failed
}

// resealWebhooks is Reseal for webhooks.
func (s *Service) resealWebhooks(ctx context.Context) (int, error) {
	names, err := s.tenantNames(ctx)
	if err != nil {
		return 0, err
	}
	resealed := 0
	var failed error
	for owner, name := range names {
		if strings.HasSuffix(name, " (deleted)") {
			continue
		}
		found, err := s.store.ListWebhooks(ctx, owner, meta.Page{Size: largestPage})
		failed = errors.Join(failed, err)
		for _, w := range found {
			done, err := s.resealWebhook(ctx, w)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s/%s: %w", name, w.Target(), err))
			}
			if done {
				resealed++
			}
		}
	}
	return resealed, failed
}

// resealWebhook says whether secrets of w needed it.
func (s *Service) resealWebhook(ctx context.Context, w meta.Webhook) (bool, error) {
	stale := false
	for _, one := range []*[]byte{&w.Secret, &w.PreviousSecret} {
		if !s.secrets.Stale(*one) {
			continue
		}
		secret, err := s.secrets.Open(*one, w.SecretName())
		if err != nil {
			return false, err
		}
		if *one, err = s.secrets.Seal(secret, w.SecretName()); err != nil {
			return false, err
		}
		stale = true
	}
	if !stale {
		return false, nil
	}
	err := s.store.ResealWebhook(ctx, causedBy(ctx, "secrets", "(secret)", "(sealed with another key)"), w)
	if fault.Is(err, fault.EtagMismatch) || fault.Is(err, fault.ResourceUnknown) {
		return false, nil // another request changed or deleted it
	}
	return err == nil, err
}
