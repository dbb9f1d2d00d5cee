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
	count := 0
	err := s.eachUpstream(ctx, func(name string, u meta.Upstream) error {
		if u.Settings.AnonymousByDefault() {
			if count++; len(named) < maxUnchosen {
				named = append(named, name)
			}
		}
		return nil
	})
	return named, count, err
}
