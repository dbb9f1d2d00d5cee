package admin

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// errHidden is the answer for a repository that is missing or that the caller does not see.
func errHidden() error {
	return fault.New(fault.NotFound, fault.NameUnknown, "repository not found, or you do not have pull access")
}

// hidden is the error err, without a difference between missing and invisible.
func (v view) hidden(err error) error {
	if !v.all && (fault.Is(err, fault.ResourceUnknown) || fault.Is(err, fault.NameUnknown)) {
		return errHidden()
	}
	return err
}

// visibleRepository is findRepository for what the caller sees.
func (s *Service) visibleRepository(ctx context.Context, name string) (meta.Repo, view, error) {
	v, err := s.viewOf(ctx, name)
	if err != nil {
		return meta.Repo{}, v, err
	}
	r, repo, err := s.registryAndRepository(ctx, name)
	if err == nil && !v.all {
		if rights := v.in(r); rights.Allowed(repo.Name)&visible == 0 {
			err = errHidden()
		}
	}
	return repo, v, v.hidden(err)
}

// resolver is the caller in the chain of a registry, for a repository that it resolves there.
func (v view) resolver(r meta.Registry, name string) (chain.Caller, error) {
	if v.all {
		return chain.PullsAll, nil
	}
	rights := v.in(r)
	switch a := rights.Allowed(name); {
	case !a.Has(access.Pull):
		return nil, errHidden()
	case !a.Has(access.Fill):
		return nil, fault.New(fault.Denied, fault.DeniedReason, "this may fetch what the cache does not have yet: it needs the action FILL of an access rule, besides PULL")
	}
	return chain.CallerOf(&rights, name), nil
}

// searchVisible answers one page of the repositories of a registry that the caller sees.
// They are chosen before paging, and page tokens do not tell of others.
func (s *Service) searchVisible(v view, r meta.Registry, list, parent string, req searchRequest,
	fetch func(meta.Between[string]) ([]string, error),
) ([]string, string, error) {
	if v.all {
		return searchNames(s, list, parent, req, fetch)
	}
	rights := v.in(r)
	seek := func(b meta.Between[string]) ([]string, error) {
		if !b.Descending {
			from, more := rights.Seek(b.After, visible)
			if !more {
				return nil, nil
			}
			b.After = from
		}
		return fetch(b)
	}
	sees := func(name string) bool { return rights.Allowed(name)&visible != 0 }
	return searchVisibleNames(s.pages.secret(), list, parent, req, seek, sees)
}
