package registry

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	defaultSearch     = 25  // results
	mostSearchResults = 100 // that Docker asks for
	searchBatch       = 1000
	mostSearched      = 3 // batches that are read for one answer, which may then have fewer results
)

// SearchRequest asks for repositories of a registry by their names.
type SearchRequest struct {
	Tenant   tenant.ID
	Registry string // slug
	Text     string
	Size     int
	Rights   *access.Rights // the caller finds repositories that it may pull from
}

// SearchResponse has the first results.
type SearchResponse struct {
	Text         string
	Repositories []string
}

// Search finds at most Size repositories, those first that are named most like the text.
func (s *Service) Search(ctx context.Context, req SearchRequest) (SearchResponse, error) {
	found := SearchResponse{Text: req.Text}
	q := meta.SearchQuery{Text: req.Text, Kinds: []meta.SearchKind{meta.SearchRepository}, Size: searchBatch}
	if req.Text == "" {
		return found, nil
	}
	for range mostSearched {
		page, err := s.meta.Search(ctx, req.Tenant, q)
		if err != nil {
			return found, err
		}
		for _, h := range page.Hits {
			if h.Registry == req.Registry && len(found.Repositories) < req.Size && req.Rights.Allowed(h.Repository).Has(access.Pull) {
				found.Repositories = append(found.Repositories, h.Repository)
			}
		}
		if q.After = page.Next; !page.More || len(found.Repositories) == req.Size {
			break
		}
	}
	return found, nil
}
