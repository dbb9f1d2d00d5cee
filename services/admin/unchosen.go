package admin

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
)

// maxUnchosen is how many upstreams a warning names.
const maxUnchosen = 20

// Unchosen names upstreams that serve callers who are not logged in with their
// credential only since that was always so, and says how many there are.
func (s *Service) Unchosen(ctx context.Context) ([]string, int, error) {
	var named []string
	count, page := 0, meta.Page{Size: largestPage}
	for {
		tenants, err := s.store.ListTenants(ctx, page)
		if err != nil || len(tenants) == 0 {
			return named, count, err
		}
		for _, t := range tenants {
			upstreams, err := s.store.ListUpstreams(ctx, t.ID, meta.Page{Size: largestPage})
			if err != nil {
				return named, count, err
			}
			for _, u := range upstreams {
				if !u.Settings.AnonymousByDefault() {
					continue
				}
				if count++; len(named) < maxUnchosen {
					named = append(named, "tenants/"+t.Slug+"/upstreams/"+u.Slug)
				}
			}
		}
		page.After = tenants[len(tenants)-1].Slug
	}
}
