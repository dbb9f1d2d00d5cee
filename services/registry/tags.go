package registry

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/kit"
)

// ListTags asks for one page of a repository's tags.
type ListTags struct {
	Repo meta.Repo
	Page meta.Page
}

// Names is one page of a list in byte order.
type Names struct {
	Names []string
	More  bool // there are others after the last one
}

// ListTags lists at most Page.Size tags.
func (s *Service) ListTags(ctx context.Context, req ListTags) (Names, error) {
	names, err := s.meta.ListTags(ctx, req.Repo, oneMore(req.Page))
	return page(names, req.Page.Size), err
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

// oneMore asks for an entry beyond the page: whether it is there says whether
// another page follows.
func oneMore(p meta.Page) meta.Page {
	p.Size++
	return p
}

func page(names []string, size int) Names {
	if len(names) > size {
		return Names{Names: names[:size], More: true}
	}
	return Names{Names: names}
}
