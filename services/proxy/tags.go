package proxy

import (
	"context"
	"slices"
	"sort"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/respond"
)

// maxTags is how many tags an upstream may have in a repository: a list that
// ends early would be taken for the whole.
const maxTags = 100_000

// ListTags asks for one page of a repository's tags at all members.
type ListTags struct {
	Ask
	Page meta.Page
}

// ListTags merges what the members list: sorted, each once.
func (s *Service) ListTags(ctx context.Context, req ListTags) (respond.NamesResponse, error) {
	ctx, asked, err := s.follow(ctx, req.Ask)
	if err != nil {
		return respond.NamesResponse{}, err
	}
	page := respond.WithLookahead(req.Page)
	var merged []string
	known := false
	collect := func(names []string, err error) error {
		if err != nil {
			return err
		}
		known = true
		merged = append(merged, names...)
		return nil
	}
	err = s.gather(ctx, asked, parts{
		hosted: func(ctx context.Context, r meta.Repo) error { return collect(s.meta.ListTags(ctx, r, page)) },
		remote: func(ctx context.Context, r remote) error { return collect(r.tags(ctx, page)) },
		found:  func() bool { return known },
	})
	if err != nil {
		return respond.NamesResponse{}, err
	}
	if !known {
		return respond.NamesResponse{}, asked.orLogin(fault.New(fault.NotFound, fault.NameUnknown,
			"repository %s is not known to this registry, nor to those that it asks", asked.Name))
	}
	slices.Sort(merged)
	merged = slices.Compact(merged)
	return respond.TrimPage(merged[:min(len(merged), page.Size)], req.Page.Size), nil
}

// tags is a page of what the upstream lists.
func (r remote) tags(ctx context.Context, p meta.Page) ([]string, error) {
	l, err := r.list(ctx, "tags", func(ctx context.Context) (list, error) {
		tags, err := r.client.AllTags(ctx, r.repo.Name, maxTags)
		slices.Sort(tags)
		return list{tags: slices.Compact(tags)}, err
	})
	if err != nil {
		return nil, err
	}
	from := sort.SearchStrings(l.tags, p.After)
	if from < len(l.tags) && l.tags[from] == p.After {
		from++
	}
	return l.tags[from:min(from+p.Size, len(l.tags))], nil
}
