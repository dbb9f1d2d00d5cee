package registry

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/kit"
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

// DeleteTagRequest names a tag to delete.
type DeleteTagRequest struct {
	Repo meta.Repo
	Tag  string
	By   meta.Cause
}

// DeleteTag deletes the tag; the manifest stays.
func (s *Service) DeleteTag(ctx context.Context, req DeleteTagRequest) (kit.Empty, error) {
	return kit.Empty{}, s.meta.DeleteTag(ctx, req.By, req.Repo, req.Tag)
}
