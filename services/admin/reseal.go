package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// Reseal seals passwords again that were sealed with a key from before the present
// one, and says how many. It is for the start of a process, which errors need not
// stop: what they name is as it was.
func (s *Service) Reseal(ctx context.Context) (int, error) {
	ctx = withCaller(ctx, caller{operator: true})
	resealed, page := 0, meta.Page{Size: largestPage}
	var failed error
	for {
		tenants, err := s.store.ListTenants(ctx, page)
		if err != nil || len(tenants) == 0 {
			return resealed, errors.Join(failed, err)
		}
		for _, t := range tenants {
			upstreams, err := s.store.ListUpstreams(ctx, t.ID, meta.Page{Size: largestPage})
			failed = errors.Join(failed, err)
			for _, u := range upstreams {
				done, err := s.reseal(ctx, u)
				if err != nil {
					failed = errors.Join(failed, fmt.Errorf("tenants/%s/upstreams/%s: %w", t.Slug, u.Slug, err))
				}
				if done {
					resealed++
				}
			}
		}
		page.After = tenants[len(tenants)-1].Slug
	}
}

// reseal says whether the password of u needed it. Another request that changed u
// meanwhile did it, or deleted it.
func (s *Service) reseal(ctx context.Context, u meta.Upstream) (bool, error) {
	if !s.secrets.Stale(u.Settings.Password) {
		return false, nil
	}
	password, err := s.secrets.Open(u.Settings.Password, meta.PasswordOf(u))
	if err != nil {
		return false, err
	}
	if u.Settings.Password, err = s.secrets.Seal(password, meta.PasswordOf(u)); err != nil {
		return false, err
	}
	_, err = s.store.UpdateUpstream(ctx, cause(ctx), u, false)
	if fault.Is(err, fault.EtagMismatch) || fault.Is(err, fault.ResourceUnknown) {
		return false, nil
	}
	return err == nil, err
}
