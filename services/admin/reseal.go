package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// Reseal seals passwords again that were sealed with a key from before the present
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
