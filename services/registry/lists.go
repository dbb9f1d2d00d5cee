package registry

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/respond"
)

// ListTagsRequest asks for one page of a repository's tags.
type ListTagsRequest struct {
	Repo meta.Repo
	Page meta.Page
}

// ListTags lists at most Page.Size tags.
func (s *Service) ListTags(ctx context.Context, req ListTagsRequest) (respond.NamesResponse, error) {
	names, err := s.meta.ListTags(ctx, req.Repo, respond.WithLookahead(req.Page))
	return respond.TrimPage(names, req.Page.Size), err
}

// ListRepositoriesRequest asks for one page of a registry's repositories.
type ListRepositoriesRequest struct {
	Tenant   tenant.ID
	Registry tenant.RegistryID
	Page     meta.Page
	Rights   *access.Rights // the list shows repositories that the caller may pull from
}

// hiddenBatch is how many names are read at a time where the caller does not see all.
const hiddenBatch = 1000

// ListRepositories lists at most Page.Size repositories that hold a manifest, among those
// that the caller may pull from.
func (s *Service) ListRepositories(ctx context.Context, req ListRepositoriesRequest) (respond.NamesResponse, error) {
	page := respond.WithLookahead(req.Page)
	if req.Rights.SeesAll() {
		names, err := s.meta.ListRepositories(ctx, req.Tenant, req.Registry, page)
		return respond.TrimPage(names, req.Page.Size), err
	}
	names, err := s.listVisible(ctx, req, page)
	return respond.TrimPage(names, req.Page.Size), err
}

// listVisible is the page for a caller who does not see all names: it reads them in batches.
func (s *Service) listVisible(ctx context.Context, req ListRepositoriesRequest, page meta.Page) ([]string, error) {
	var seen []string
	after := page.After
	for len(seen) < page.Size {
		from, more := req.Rights.Seek(after, access.Pull)
		if !more {
			break
		}
		names, err := s.meta.ListRepositories(ctx, req.Tenant, req.Registry, meta.Page{After: from, Size: hiddenBatch})
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if len(seen) < page.Size && req.Rights.Allowed(name).Has(access.Pull) {
				seen = append(seen, name)
			}
		}
		if len(names) < hiddenBatch {
			break
		}
		after = names[len(names)-1]
	}
	return seen, nil
}

// Rows are fetched in batches: first a few, whose size then decides how many more.
const (
	firstBatch = 4
	maxBatch   = 256
)

// ListReferrersRequest asks for one page of the manifests that have a subject.
type ListReferrersRequest struct {
	Repo         meta.Repo
	Subject      oci.Digest
	ArtifactType string // empty for all
	Page         meta.Page
}

// ListReferrers lists at most Page.Size referrers and about 4 MiB.
func (s *Service) ListReferrers(ctx context.Context, req ListReferrersRequest) (respond.ReferrersResponse, error) {
	var found respond.ReferrersResponse
	after := req.Page.After
	fits := firstBatch
	for {
		left := req.Page.Size - len(found.Descriptors)
		batch := meta.Page{After: after, Size: min(left+1, fits)} // left+1: see respond.WithLookahead
		rows, err := s.meta.ListReferrers(ctx, req.Repo, req.Subject, req.ArtifactType, batch)
		if err != nil {
			return respond.ReferrersResponse{}, err
		}
		for _, row := range rows {
			if ok, err := found.Take(row, req.Page.Size); err != nil || !ok {
				return found, err
			}
		}
		if len(rows) < batch.Size && !respond.EndedEarly(rows, batch.Size) {
			return found, nil
		}
		after = rows[len(rows)-1].Digest.String()
		average := found.Size() / len(found.Descriptors)
		fits = min(max(respond.MaxReferrers-found.Size(), 0)/average+1, maxBatch)
	}
}
