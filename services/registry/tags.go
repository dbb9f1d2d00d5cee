package registry

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/answer"
	"github.com/berth-registry/berth/services/internal/kit"
)

// ListTags asks for one page of a repository's tags.
type ListTags struct {
	Repo meta.Repo
	Page meta.Page
}

// ListTags lists at most Page.Size tags.
func (s *Service) ListTags(ctx context.Context, req ListTags) (answer.Names, error) {
	names, err := s.meta.ListTags(ctx, req.Repo, answer.OneMore(req.Page))
	return answer.PageOf(names, req.Page.Size), err
}

// DeleteTag names a tag to delete.
type DeleteTag struct {
	Repo meta.Repo
	Tag  string
	By   meta.Cause
}

// DeleteTag deletes the tag; the manifest stays.
func (s *Service) DeleteTag(ctx context.Context, req DeleteTag) (kit.Done, error) {
	return kit.Done{}, s.meta.DeleteTag(ctx, req.By, req.Repo, req.Tag)
}
